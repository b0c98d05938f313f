"""Every failure of the wire becomes an error of ours, and says no more than it should."""

import inspect

import httpx2
import pytest

from loopwright.errors import ContextTooLong, EndpointError, EndpointRefused, EndpointTimedOut, EndpointUnavailable
from loopwright.inference.faults import CLIENT_ERRORS, from_exception, from_status, parse_retry_after


def client_exceptions() -> list[type[Exception]]:
    """Return every exception class that httpx2 exports, and every subclass of them."""
    found: set[type[Exception]] = set()
    todo = [each for _, each in inspect.getmembers(httpx2, inspect.isclass) if issubclass(each, Exception)]
    while todo:
        kind = todo.pop()
        if not issubclass(kind, Warning) and kind not in found:
            found.add(kind)
            todo += kind.__subclasses__()
    return sorted(found, key=lambda each: each.__name__)


def build(kind: type[Exception]) -> Exception:
    """Return an instance, whatever its constructor asks for."""
    if issubclass(kind, httpx2.HTTPStatusError):
        request = httpx2.Request("GET", "http://x")
        return kind("m", request=request, response=httpx2.Response(503, request=request))
    error = kind.__new__(kind)
    Exception.__init__(error, "m")
    return error


def test_the_tree_of_the_client_is_the_one_we_know() -> None:
    assert {"ConnectError", "ReadTimeout", "RemoteProtocolError", "InvalidURL", "StreamClosed"} <= {
        each.__name__ for each in client_exceptions()
    }


@pytest.mark.parametrize("kind", client_exceptions(), ids=lambda each: each.__name__)
def test_every_exception_of_the_client_is_caught_and_translated(kind: type[Exception]) -> None:
    assert issubclass(kind, CLIENT_ERRORS)
    assert isinstance(from_exception("e", build(kind)), EndpointError)


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (httpx2.ConnectError("x"), EndpointUnavailable),
        (httpx2.ConnectTimeout("x"), EndpointUnavailable),
        (httpx2.PoolTimeout("x"), EndpointUnavailable),
        (httpx2.ReadTimeout("x"), EndpointTimedOut),
        (httpx2.WriteTimeout("x"), EndpointTimedOut),
        (httpx2.ReadError("x"), EndpointUnavailable),
        (httpx2.RemoteProtocolError("x"), EndpointUnavailable),
        (httpx2.LocalProtocolError("x"), EndpointRefused),
        (httpx2.UnsupportedProtocol("x"), EndpointRefused),
        (httpx2.InvalidURL("x"), EndpointRefused),
        (httpx2.DecodingError("x"), EndpointUnavailable),
        (OSError("x"), EndpointUnavailable),
    ],
)
def test_exceptions_are_sorted_by_whether_a_retry_may_help(raised: Exception, ours: type[EndpointError]) -> None:
    assert type(from_exception("e", raised)) is ours


@pytest.mark.parametrize(
    ("status", "body", "ours"),
    [
        (400, b'{"error":{"message":"bad field","code":400}}', EndpointRefused),
        (400, b'{"error":{"message":"This model\'s maximum context length is 4096 tokens."}}', ContextTooLong),
        (400, b'{"error":{"message":"no","code":"context_length_exceeded"}}', ContextTooLong),
        (400, b'{"error":{"message":"the request exceeds the available context size"}}', ContextTooLong),
        (
            400,
            b'{"error":{"message":"The input (9 tokens) is longer than the model\'s context length"}}',
            ContextTooLong,
        ),
        (400, b'{"error":{"message":"max_tokens=5000 cannot be greater than max_model_len=4096"}}', EndpointRefused),
        (401, b"", EndpointRefused),
        (404, b'{"error":{"message":"The model `x` does not exist."}}', EndpointRefused),
        (307, b"", EndpointRefused),
        (408, b"", EndpointUnavailable),
        (413, b"", ContextTooLong),
        (422, b'{"detail":[{"msg":"field required"}]}', EndpointRefused),
        (429, b'{"error":"slow down"}', EndpointUnavailable),
        (500, b"<html>oops</html>", EndpointUnavailable),
        (503, b"[1,2]", EndpointUnavailable),
    ],
)
def test_statuses_are_sorted(status: int, body: bytes, ours: type[EndpointError]) -> None:
    error = from_status("e", status, body)
    assert type(error) is ours
    assert str(status) in error.problem
    if isinstance(error, EndpointRefused):
        assert error.status == status


def test_a_long_error_page_is_shortened_to_one_line() -> None:
    problem = from_status("e", 500, "line\n" * 10_000).problem
    assert len(problem) < 500
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now_s=10.0) == seconds
