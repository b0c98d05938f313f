"""Who asks: the tenant and the scopes that a request acts with."""

from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["runs", "read", "approve", "admin"]
"""`read`: look at everything of the tenant, which every key may. `runs`: submit, cancel, fork; threads and schedules.
`approve`: decide about calls. `admin`: all of these, and metrics of the whole server."""

SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        tenant: Whose things are seen and changed.
        key_id: Public part of the key; `local` where no keys are in use.
        scopes: What the key may do.
    """

    tenant: str
    key_id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether the caller may do what asks for a scope; `admin` may do all, everybody may read."""
        return scope == "read" or scope in self.scopes or "admin" in self.scopes
