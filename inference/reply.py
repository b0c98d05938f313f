"""Put a completion's pieces together: the deltas, the guards that watch them, and how it ended."""

from ..errors import EndpointUnavailable
from .endpoint import CompletionRequest, Delta, FinishReason, Usage
from .stream_guard import StreamGuard
from .wire import Arrived


class Reply:
    """What is known of one completion so far, and the guards that watch it."""

    __slots__ = ("_endpoint", "_finish", "_guard", "_musing", "_usage")

    def __init__(self, endpoint: str, request: CompletionRequest, *, is_enforced: bool) -> None:
        is_json = request.constraint is not None
        self._endpoint = endpoint
        self._guard = StreamGuard(endpoint, json=is_json, bounded=is_json and is_enforced)
        self._musing: StreamGuard | None = None
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None

    def take(self, arrived: Arrived) -> Delta:
        """Return the delta of what arrived, once the guards have seen it.

        Raises:
            StreamRunaway: The model repeats itself.
        """
        self._guard.feed(arrived.text, arrived.tokens)
        if arrived.reasoning:
            self._musing = self._musing or StreamGuard(self._endpoint, json=False)
            self._musing.feed(arrived.reasoning)
        self._finish = arrived.finish_reason or self._finish
        self._usage = arrived.usage or self._usage
        return Delta(arrived.text, arrived.reasoning)

    def finish(self, arrived: Arrived) -> Delta:
        """Return the last delta, with the finish reason and the usage.

        Raises:
            EndpointUnavailable: The stream broke off.
        """
        last = self.take(arrived)
        if arrived.is_cut and self._finish is None:
            raise EndpointUnavailable(self._endpoint, "the stream ended before the completion did")
        return Delta(last.text, last.reasoning, self._finish or "stop", self._usage)
