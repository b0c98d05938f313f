"""Logs: no secret in them, and no chatter of the HTTP client."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from loopwright.telemetry import configure_logging, mask_secrets


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the logging of the test process as it was."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
@pytest.mark.parametrize("name", ["httpx2", "httpcore2", "httpcore2.connection", "httpcore2.http11"])
def test_the_http_client_never_logs_single_requests(name: str, level: str) -> None:
    configure_logging(level=level)
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)


@pytest.mark.parametrize(
    ("facts", "logged"),
    [
        ({"api_key": "s", "Authorization": "s"}, {"api_key": "***", "Authorization": "***"}),
        ({"prompt_tokens": 7, "tool": "pay"}, {"prompt_tokens": 7, "tool": "pay"}),
        ({"headers": {"cookie": "s", "host": "h"}}, {"headers": {"cookie": "***", "host": "h"}}),
        ({"tried": [{"password": "s"}, "plain"]}, {"tried": [{"password": "***"}, "plain"]}),
    ],
)  # fmt: skip
def test_facts_named_like_secrets_are_masked_at_any_depth(facts: dict[str, object], logged: dict[str, object]) -> None:
    assert mask_secrets(None, "info", facts) == logged


def test_a_line_is_json_and_holds_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", as_json=True)
    structlog.get_logger("x").info("called", tool="pay", secret="geheim", headers={"authorization": "geheim"})
    line = capfd.readouterr().err
    assert '"tool": "pay"' in line
    assert "geheim" not in line
