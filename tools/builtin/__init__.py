"""Built-in tools: all of them `read`, bounded in what they take, spend and return."""

from typing import Any

from ..tool import Tool
from .artifacts import read_artifact
from .calculator import calculate
from .dates import convert_time_zone, current_time, date_difference, shift_date
from .http_fetch import http_fetch
from .json_query import query_json
from .text_stats import text_statistics
from .units import convert_units

__all__ = [
    "calculate",
    "convert_time_zone",
    "convert_units",
    "current_time",
    "date_difference",
    "http_fetch",
    "query_json",
    "read_artifact",
    "shift_date",
    "standard_tools",
    "text_statistics",
]


def standard_tools() -> list[Tool[..., Any]]:
    """Return the tools that any agent may have: no network, no files, nothing that knows the run.

    `read_artifact` is missing, since the planner adds it where something was cut; `http_fetch(...)` needs its hosts.
    """
    return [
        calculate,
        convert_units,
        current_time,
        shift_date,
        date_difference,
        convert_time_zone,
        query_json,
        text_statistics,
    ]
