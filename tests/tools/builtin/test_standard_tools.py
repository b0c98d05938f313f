"""The set of built-in tools as an agent gets it."""

import subprocess
import sys

import pytest

from loopwright.tools import Tool, builtin
from loopwright.tools.builtin import http_fetch, read_artifact, standard_tools

TOOLS = [*standard_tools(), read_artifact, http_fetch(["example.org"])]


def test_the_exported_names_are_sorted() -> None:
    assert sorted(builtin.__all__) == builtin.__all__


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_tool_is_free_to_repeat_and_briefly_described(tool: Tool) -> None:
    assert tool.effect == "read"
    assert 10 < len(tool.description) < 90
    assert "\n" not in tool.description
    assert all(len(schema.get("description", "")) < 100 for schema in tool.parameters["properties"].values())


def test_names_are_unique() -> None:
    names = [tool.name for tool in TOOLS]
    assert len(set(names)) == len(names) == 10


def test_importing_the_tools_opens_no_http_library() -> None:
    code = "import sys, loopwright.tools.builtin; sys.exit(any(name in sys.modules for name in ('httpx2', 'outlines')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
