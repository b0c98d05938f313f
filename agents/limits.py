"""The budgets of a run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of one run. When one ends, the model gets one last turn to answer with what it has.

    Attributes:
        max_steps: Most steps.
        max_tokens: Most tokens, read and written, of the whole run and of the runs it starts.
        max_tool_calls: Most tool calls.
        deadline_s: Seconds from the run's creation.
        max_cost: Most money, in the currency of the endpoint's price list; `None`: no bound.
    """

    max_steps: int = 12
    max_tokens: int = 50_000
    max_tool_calls: int = 50
    deadline_s: float = 300.0
    max_cost: float | None = None

    def within(self, remaining: "Limits") -> "Limits":
        """Return the smaller of each pair: what a run may spend that is started with what another has left."""
        costs = [cost for cost in (self.max_cost, remaining.max_cost) if cost is not None]
        return Limits(
            max_steps=min(self.max_steps, remaining.max_steps),
            max_tokens=min(self.max_tokens, remaining.max_tokens),
            max_tool_calls=min(self.max_tool_calls, remaining.max_tool_calls),
            deadline_s=min(self.deadline_s, remaining.deadline_s),
            max_cost=min(costs, default=None),
        )

    def problems(self) -> Iterator[str]:
        """Yield `field: message` for every value that cannot be a limit."""
        for name, lowest in (("max_steps", 1), ("max_tokens", 1), ("max_tool_calls", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                yield f"{name}: must be a whole number of at least {lowest}, not {value!r}"
        if not _is_positive(self.deadline_s):
            yield f"deadline_s: must be a positive number of seconds, not {self.deadline_s!r}"
        if self.max_cost is not None and not _is_positive(self.max_cost):
            yield f"max_cost: must be a positive amount or None, not {self.max_cost!r}"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the limits as `RunCreated.limits` stores them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
