"""What tests of the API stand on: the servers of the journal's tests."""

from ..memory.conftest import free_port, one_server

__all__ = ["free_port", "one_server"]
