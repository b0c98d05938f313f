"""What an agent remembers from one run to the next."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Memory:
    """Which memories an agent's runs may use.

    Today these values are pinned in the agent's hash and have no other effect.

    Attributes:
        conversation: Earlier runs of the same thread are part of the prompt.
        semantic: Facts found by meaning are recalled.
        episodic: Earlier runs on similar tasks are recalled.
        window_tokens: Most tokens of the prompt that memories may take.
    """

    conversation: bool = True
    semantic: bool = False
    episodic: bool = False
    window_tokens: int = 2_000

    def problems(self) -> Iterator[str]:
        """Yield `field: message` for every value that makes no sense."""
        for name in ("conversation", "semantic", "episodic"):
            if not isinstance(getattr(self, name), bool):
                yield f"{name}: must be True or False, not {getattr(self, name)!r}"
        if type(self.window_tokens) is not int or self.window_tokens < 0:
            yield f"window_tokens: must be a whole number of at least 0, not {self.window_tokens!r}"
