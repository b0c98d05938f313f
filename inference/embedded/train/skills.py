"""The shapes shared by the generator: a tool, one request for it, and a skill that can make requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol


@dataclass(frozen=True)
class Tool:
    """A tool as the prompt shows it."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request for one tool.

    Attributes:
        text: The request in words, values marked, lower case, without final punctuation.
        arguments: The right arguments, in the order of the signature.
        result: What the tool answers.
    """

    text: str
    arguments: dict[str, Any]
    result: str


class Skill(Protocol):
    """Makes requests for one tool."""

    @property
    def tool(self) -> Tool:
        """The tool."""
        ...

    def ask(self, rng: Random, *, held: bool = False, given: str | None = None) -> Ask:
        """Return a request.

        Args:
            rng: Source of every choice.
            held: Use the wordings that training never sees.
            given: Value that takes the main argument's place because an earlier call returned it.
        """
        ...


@dataclass(frozen=True)
class Parameter:
    """One parameter of a signature."""

    key: str
    kind: str
    required: bool = True
    default: Any = None
    description: str = ""
    options: tuple[str, ...] = field(default=())

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value."""
        schema: dict[str, Any] = {"type": self.kind}
        if self.options:
            schema = {"type": "string", "enum": list(self.options)}
        elif self.kind in ("date", "date-time"):
            schema = {"type": "string", "format": self.kind}
        if self.default is not None:
            schema["default"] = self.default
        if self.description:
            schema["description"] = self.description
        return schema


def make_tool(name: str, description: str, parameters: tuple[Parameter, ...]) -> Tool:
    """Return a tool with a JSON Schema of its parameters."""
    return Tool(
        name,
        description,
        {
            "type": "object",
            "properties": {p.key: p.schema() for p in parameters},
            "required": [p.key for p in parameters if p.required],
            "additionalProperties": False,
        },
    )
