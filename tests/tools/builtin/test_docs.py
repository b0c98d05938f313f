"""The examples of the documentation page run as written."""

import doctest
import re
from pathlib import Path

from loopwright.tools.builtin import http_fetch, read_artifact, standard_tools

PAGE = (Path(__file__).parents[3] / "docs" / "builtin-tools.md").read_text()


def test_every_example_gives_what_the_page_says() -> None:
    examples = "\n".join(re.findall(r"```python\n(>>> .*?)```", PAGE, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "builtin-tools.md", None, None)
    assert len(test.examples) >= 25
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_first_example_defines_an_agent() -> None:
    scope: dict[str, object] = {}
    exec(re.findall(r"```python\n(from .*?)```", PAGE, re.DOTALL)[0], scope)
    assert "clerk" in scope


def test_the_table_lists_every_tool_with_its_parameters() -> None:
    listed = dict(re.findall(r"^\| `(\w+)\(([^)]*)\)`", PAGE, re.MULTILINE))
    for tool in [*standard_tools(), read_artifact, http_fetch(["example.org"])]:
        names = [part.partition("=")[0].strip() for part in listed[tool.name].split(",")]
        assert names == list(tool.parameters["properties"])
