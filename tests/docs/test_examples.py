"""What the README and the pages show is run, word for word."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.planner.run import run_agent
from loopwright.testing import RandomEndpoint, ScriptedEndpoint, answer, call

ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_definition_in_the_readme_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    definition, _remote = blocks("README.md")  # the other one: tests/client/test_docs.py
    assert len(definition.strip().splitlines()) <= 10
    model = ScriptedEndpoint([call("order_status", order_id="A-1042"), answer("It is shipped.")])
    monkeypatch.setattr("loopwright.inference.connect.connect", lambda *_a, **_k: _Given(model))
    exec(compile(definition, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == "It is shipped.\n"
    assert model.requests[1].messages[-1].content.endswith(">shipped</observation>")


class _Given:
    """A connection to an endpoint that is there already."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> Any:
        return self._endpoint

    async def __aexit__(self, *_: object) -> None:
        pass


def test_the_page_on_testing_is_true() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks("docs/testing.md"):
        exec(compile(block, "docs/testing.md", "exec"), names)
    names["test_the_treasurer_looks_the_rate_up"](lambda *replies: ScriptedEndpoint(replies))


@pytest.mark.parametrize(
    "file", sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.name != "demo.py")
)
def test_an_example_defines_agents_that_run(file: str) -> None:
    import asyncio

    for agent in loopwright.load(str(ROOT / "examples" / file)):
        for seed in range(3):
            result = asyncio.run(run_agent(agent, "anything", endpoint=RandomEndpoint(seed)))
            assert result.status in ("succeeded", "failed", "waiting")


def test_every_link_in_the_pages_leads_somewhere() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_commands_in_the_readme_exist() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in set(re.findall(r"^loopwright (\w+)", "\n".join(blocks("README.md", "sh")), re.MULTILINE)):
        assert re.search(rf"\b{command}\b", listed)
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make ([\w-]+)", "\n".join(blocks("README.md", "sh")), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
