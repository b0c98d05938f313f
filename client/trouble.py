"""What an answer that is no success means: one of our errors, and whether sending again may help."""

import json
import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import errors as er
from .call import Lost, Reply

TYPE_PREFIX = "urn:loopwright:problem:"
WORTH_ANOTHER = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that the same request may not meet again; of others a problem says so itself."""

LONGEST_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client goes on trying. Every pause is drawn at random from the upper half of a growing bound.

    Attributes:
        total_s: Seconds from the first failure on, until the client gives up; 0: it never tries again.
        first_s: Bound of the first pause.
        longest_s: Bound of all later ones. What a server asks for by `Retry-After` is waited in full.
        random: Draws the jitter.
    """

    total_s: float = 30.0
    first_s: float = 0.2
    longest_s: float = 5.0
    random: Callable[[], float] = random_module.random

    def pause(self, failures: int, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after so many failures in a row (from 1)."""
        bound = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return max(bound * (0.5 + 0.5 * self.random()), retry_after_s or 0.0)


def error_of(outcome: Reply | Lost) -> er.LoopwrightError:
    """Return what a failed request means, as one of our own classes where the server names one.

    What to do about it is the error's note, as tracebacks and the command line show it.
    """
    if isinstance(outcome, Lost):
        error: er.LoopwrightError = er.ApiUnavailable(outcome.problem, 0)
        remedy = "is the server running? --url or LOOPWRIGHT_URL names another"
    else:
        problem = _problem(outcome)
        error = _ours(problem) or _general(outcome, problem)
        remedy = str(problem.get("remedy", "")) or getattr(error, "remedy", "")
    if remedy:
        error.add_note(remedy)
    return error


def may_help(outcome: Reply | Lost) -> bool:
    """Return whether sending the same request again may end better."""
    if isinstance(outcome, Lost):
        return True
    return outcome.status in WORTH_ANOTHER or _problem(outcome).get("retryable") is True


def retry_after_s(outcome: Reply | Lost) -> float | None:
    """Return how long the server asks to wait, in seconds; `None` when it does not say so in a number."""
    if isinstance(outcome, Lost):
        return None
    try:
        return min(3600.0, max(0.0, float(outcome.headers.get("retry-after", ""))))
    except ValueError:
        return None


def _problem(reply: Reply) -> dict[str, Any]:
    """Return the body of a failure as a problem; empty when it is none, as from a proxy in between."""
    if "json" not in reply.headers.get("content-type", ""):
        return {}
    try:
        value = json.loads(reply.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _ours(problem: dict[str, Any]) -> er.LoopwrightError | None:
    """Return the error that the server raised, rebuilt from its facts; `None` when this version cannot."""
    code, facts = str(problem.get("type", "")).removeprefix(TYPE_PREFIX), problem.get("facts")
    kind = er.REGISTRY.get("".join(word.capitalize() for word in code.split("_")))
    if kind is None or not isinstance(facts, dict):
        return None
    try:
        error = er.from_json({"error": kind.__name__, "facts": facts})
        str(error)  # a fact of another type than ours would fail where nobody expects it
    except Exception:  # whatever a constructor makes of facts of another version
        return None
    return error


def _general(reply: Reply, problem: dict[str, Any]) -> er.LoopwrightError:
    detail = str(problem.get("detail") or _words(reply))
    facts = (reply.status, str(problem.get("type", "about:blank")), str(problem.get("remedy", "")))
    if 300 <= reply.status < 400:
        return er.ApiRefused(f"the server at this URL sends on to {reply.headers.get('location', 'elsewhere')}", *facts)
    if may_help(reply):
        return er.ApiUnavailable(detail, *facts, retry_after_s=retry_after_s(reply))
    return er.ApiRefused(detail, *facts) if reply.status < 500 else er.ApiFailed(detail, *facts)


def _words(reply: Reply) -> str:
    text = " ".join(reply.body[:2000].decode(errors="replace").split())
    said = f": {text[:LONGEST_DETAIL]}" if text else ""
    return f"the server answered {reply.status}, which is no answer of a Loopwright server{said}"
