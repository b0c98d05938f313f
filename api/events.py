"""Live streams of events."""

from typing import Any

from .service import Service


class EventStreams:
    """Serves live streams."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def wants(self, scope: Any) -> bool:
        """Return whether a request asks for a live stream."""
        return False

    async def open(self, scope: Any) -> None:
        """Check a request before its stream begins."""

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Stream."""
