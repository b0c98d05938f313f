"""Count what runs do, as `GET /metrics` shows it."""

from typing import TYPE_CHECKING, Any

from ..planner import events as ev
from ..planner.state import RunState

if TYPE_CHECKING:
    from ..memory.metrics import Metrics


class RunFigures:
    """Sees the events of one run that is driven here and counts them.

    Args:
        metrics: Where to.
        agent: Name of the run's agent.
    """

    def __init__(self, metrics: "Metrics", agent: str) -> None:
        self._metrics = metrics
        self._agent = agent

    def see(self, event: ev.Event) -> None:
        """Count one event."""
        if isinstance(event, ev.StepDecided | ev.StepRejected):
            self._metrics.count("steps", agent=self._agent)
        if isinstance(event, ev.StepDecided | ev.StepRejected | ev.TurnTaken):
            self._tokens(event.tokens)
        elif isinstance(event, ev.CallFinished):
            self._metrics.observe("tool", event.latency_ms / 1000, tool=event.tool)

    def asked(self, seconds: float) -> None:
        """Note how long the model took for one completion."""
        self._metrics.observe("model", seconds, agent=self._agent)

    def claimed(self, waited_ms: int) -> None:
        """Note how long a new run waited for a worker."""
        self._metrics.observe("pickup", max(waited_ms, 0) / 1000)

    def ended(self, state: RunState, now_ms: int) -> None:
        """Count the end of a run, if it has ended."""
        if state.is_final:
            reason = state.reason if state.status == "failed" else ""
            self._metrics.count("runs_finished", status=state.status, reason=reason or "", agent=self._agent)
            self._metrics.observe("run", max(now_ms - state.created.created_ms, 0) / 1000, agent=self._agent)

    def _tokens(self, tokens: ev.Tokens) -> None:
        counted: Any = {"prompt": tokens.prompt, "cached": tokens.cached, "completion": tokens.completion}
        for kind, number in counted.items():
            if number:
                self._metrics.count("tokens", number, kind=kind, agent=self._agent)
