"""Strict reading of JSON text as a Python type: the last gate before a tool, whatever the engine promised."""

import re
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

MAX_BYTES = 256 * 1024
"""Most bytes of one JSON text; the arguments of a call are journaled, so they must stay small."""

MAX_PROBLEMS = 5
"""Problems listed of one text; the model corrects a few at a time."""


class InvalidJson(ValueError):
    """The text is not JSON or not of the type. The message lists each place, what it expects and what it got."""


class StrictJson:
    """Reads JSON text as one type, without any coercion."""

    def __init__(self, adapter: TypeAdapter[Any], max_bytes: int = MAX_BYTES) -> None: ...

    def parse(self, text: str) -> Any:
        """Return the value.

        Raises:
            InvalidJson: The text is not JSON, too large, or not of the type.
        """
