"""The examples in the reference run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["agents.md", "tools.md"])
def test_the_examples_of_a_page_run_in_order(page: str) -> None:
    text = (DOCS / page).read_text()
    blocks = list(BLOCK.finditer(text))
    namespace = {"__name__": f"docs_{page.removesuffix('.md')}"}
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], str(DOCS / page), "exec"), namespace)
    assert len(blocks) >= 6


@pytest.mark.parametrize("page", ["agents.md", "tools.md"])
def test_the_reference_names_every_field_and_option(page: str) -> None:
    """A new field without a line in the reference fails here."""
    from dataclasses import fields

    from loopwright.agents import Agent, Limits
    from loopwright.tools import ToolOptions

    text = (DOCS / page).read_text()
    named = {
        "agents.md": [each.name for kind in (Agent, Limits) for each in fields(kind) if each.init],
        "tools.md": [name for name in ToolOptions.__annotations__ if name != "agent"],
    }
    assert [name for name in named[page] if f"`{name}`" not in text] == []
