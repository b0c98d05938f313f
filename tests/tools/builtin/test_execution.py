"""The built-in tools under the real policy: arguments as JSON text, through validation, to an outcome."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.errors import ArgumentsInvalid
from loopwright.tools import Context, Tool, execute
from loopwright.tools.builtin import read_artifact, standard_tools

TOOLS = {tool.name: tool for tool in [*standard_tools(), read_artifact]}
VALUES = {
    "string": st.text(max_size=40) | st.sampled_from(["1+1", "km", "miles", "UTC", "Berlin", "{}", "a[0]", "x"]),
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
    "integer": st.integers(),
    "date": st.dates().map(str),
    "date-time": st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat()),
}


def _arguments(tool: Tool) -> st.SearchStrategy[dict[str, Any]]:
    kinds = {name: schema.get("format", schema["type"]) for name, schema in tool.parameters["properties"].items()}
    needed = set(tool.parameters.get("required", ()))
    return st.fixed_dictionaries(
        {name: VALUES[kind] for name, kind in kinds.items() if name in needed},
        optional={name: VALUES[kind] for name, kind in kinds.items() if name not in needed},
    )


@pytest.mark.parametrize("name", TOOLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_valid_arguments_make_a_tool_crash(name: str, data: st.DataObject) -> None:
    tool = TOOLS[name]
    text = json.dumps(data.draw(_arguments(tool)))
    try:
        arguments = tool.parse(text)
    except ArgumentsInvalid:
        return
    outcome = asyncio.run(execute(tool, arguments, Context()))
    assert outcome.error in (None, "tool_error")
    assert outcome.text


def test_a_result_reaches_the_model_as_text() -> None:
    tool = TOOLS["text_statistics"]
    outcome = asyncio.run(execute(tool, tool.parse('{"text": "One two."}'), Context()))
    assert json.loads(outcome.text)["words"] == 2
