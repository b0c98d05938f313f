"""Read the parts of a Google docstring that a model needs: what the function does, and its `Args`.

Sections are those of the Google Python Style Guide, 3.8.3.
"""

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Attributes|Returns?|Yields?|Raises|Examples?|Notes?|See Also|Warnings?|Todo"
    r"|References|Keyword Args|Keyword Arguments|Other Parameters):[ \t]*$"
)
_ARGUMENT_SECTIONS = frozenset({"Args", "Arguments", "Parameters", "Keyword Args", "Keyword Arguments"})
_ARGUMENT = re.compile(r"^\*{0,2}([A-Za-z_]\w*)\s*(?:\([^)]*\))?\s*:(?:\s+(.*))?$")


@dataclass(frozen=True, slots=True)
class Docstring:
    """What a docstring says.

    Attributes:
        description: Everything before the first section, on one line.
        arguments: Argument name to its description on one line, in the order of the docstring.
    """

    description: str = ""
    arguments: dict[str, str] = field(default_factory=dict)


def parse_docstring(text: str | None) -> Docstring:
    """Return what a Google docstring says; a missing one says nothing."""
    before: list[str] = []
    arguments: list[str] = []
    target: list[str] | None = before
    for line in inspect.cleandoc(text or "").splitlines():
        if section := _SECTION.match(line):
            target = arguments if section[1] in _ARGUMENT_SECTIONS else None
        elif target is not None:
            target.append(line)
    return Docstring(_one_line(before), _arguments(arguments))


def _arguments(lines: list[str]) -> dict[str, str]:
    """Group the lines of an `Args` section: a line as far left as the first one opens the next argument."""
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        opens = _ARGUMENT.match(line[indent:])
        if opens:
            current = found.setdefault(opens[1], [])
            current.append(opens[2] or "")
        else:
            current.append(line)
    return {name: _one_line(parts) for name, parts in found.items()}


def _one_line(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
