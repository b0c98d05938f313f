"""Logging: fixed event names with key-value facts, one line of JSON each, or coloured lines for people."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

SECRET_WORDS = ("key", "secret", "token", "password", "authorization", "cookie")
"""A fact whose name contains one of these is masked."""

_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "cached_tokens", "tokens", "idempotency_key"})


def configure_logging(*, level: str = "WARNING", as_json: bool | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        level: Least level that is shown.
        as_json: One JSON object a line; `None` decides by whether standard error is a terminal.
    """
    import structlog

    as_json = not sys.stderr.isatty() if as_json is None else as_json
    least = getattr(logging, level.upper(), logging.WARNING)
    logging.basicConfig(level=least, stream=sys.stderr, format="%(message)s", force=True)
    for noisy in ("httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(max(least, logging.WARNING))
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            mask_secrets,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def mask_secrets(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of facts that are named like secrets, at any depth."""
    for name, value in facts.items():
        facts[name] = _masked(name, value)
    return facts


def _masked(name: str, value: Any) -> Any:
    if name not in _PLAIN and any(word in name.lower() for word in SECRET_WORDS):
        return "***"
    if isinstance(value, Mapping):
        return {key: _masked(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", each) for each in value]
    return value
