"""The command line, used as a person would, against a scripted model server and an embedded Redis."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.testing import answer, call

from ..inference.fake_server import FakeServer, Reply, Seen, completes, says

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "examples" / "shop.py")

APPROVAL = """
from loopwright import Agent, tool

@tool(approval=True)
def pay(amount: int) -> str:
    "Pay."
    return "paid"

payer = Agent(name="payer", instructions="Pay.", tools=[pay])
"""


def shop_model(seen: Seen) -> Reply:
    """Look the order up, then answer; say nothing useful to requests that are no step of a run."""
    messages = seen.body["messages"]
    if messages[0]["role"] != "system":
        return completes("{}")
    if len(messages) == 2:
        tool = "pay" if "pay(" in messages[0]["content"] else "order_status"
        arguments: dict[str, Any] = {"amount": 3} if tool == "pay" else {"order_id": "A-1042"}
        return says(call(tool, thought="Look.", **arguments))
    return says(answer("It was shipped."))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(shop_model) as running:
        yield running


def loopwright(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder of its own, where it keeps its data."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    return subprocess.run(
        [sys.executable, "-m", "loopwright.cli", *arguments],
        cwd=cwd, env={**environment, **variables}, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip


def test_a_run_is_shown_step_by_step_and_can_be_shown_again(server: FakeServer, tmp_path: Path) -> None:
    ran = loopwright("run", SHOP, "where is A-1042?", "--model-url", server.url, "--model", "m", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for piece in ("where is A-1042?", "order_status", "shipped, arrives tomorrow", "succeeded", "It was shipped."):
        assert piece in ran.stdout
    run_id = ran.stdout.split()[1]
    shown = loopwright("show", run_id, cwd=tmp_path)
    tailed = loopwright("tail", run_id, cwd=tmp_path)
    assert shown.returncode == tailed.returncode == 0
    assert shown.stdout == ran.stdout == tailed.stdout


def test_json_lines_are_the_journal(server: FakeServer, tmp_path: Path) -> None:
    variables = {"LOOPWRIGHT_MODEL_URL": server.url, "LOOPWRIGHT_MODEL": "m"}
    ran = loopwright("run", SHOP, "where?", "--json", cwd=tmp_path, **variables)
    types = [json.loads(line)["type"] for line in ran.stdout.splitlines()]
    assert types[0] == "run.created"
    assert types[-1] == "run.succeeded"


def test_the_first_model_that_the_server_lists_is_used_when_none_is_named(server: FakeServer, tmp_path: Path) -> None:
    ran = loopwright("run", SHOP, "where?", "--model-url", server.url, "--in-memory", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / ".loopwright").exists()


def test_a_run_that_needs_approval_waits_and_says_so(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "pay.py").write_text(APPROVAL)
    ran = loopwright("run", "pay.py", "pay 3", "--model-url", server.url, "--model", "m", cwd=tmp_path)
    assert ran.returncode == 3
    assert "waiting" in ran.stdout
    assert "approval" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says_so"),
    [
        (("run", "missing.py", "x"), 2, "missing.py"),
        (("run", str(ROOT / "examples") , "x"), 2, "say which"),
        (("run", SHOP, "  "), 2, "empty"),
        (("run", SHOP, "x", "--model-url", "http://127.0.0.1:9/v1", "--model", "m"), 1, "model_unavailable"),
        (("run", SHOP, "x", "--model-url", "nonsense"), 2, "nonsense"),
        (("run", SHOP, "x", "--redis", "redis://127.0.0.1:9"), 1, "Redis"),
        (("show", "nothing-like-an-id"), 2, "there is no run"),
        (("show", "07" + "0" * 32), 2, "there is no run"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(
    arguments: tuple[str, ...], code: int, says_so: str, server: FakeServer, tmp_path: Path
) -> None:
    variables = {} if "--model-url" in arguments else {"LOOPWRIGHT_MODEL_URL": server.url, "LOOPWRIGHT_MODEL": "m"}
    ran = loopwright(*arguments, cwd=tmp_path, **variables)
    assert ran.returncode == code, ran.stderr
    assert says_so in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    ran = loopwright("run", SHOP, "x", cwd=tmp_path, LOOPWRIGHT_LEASE_S="soon")
    assert ran.returncode == 2
    assert "LOOPWRIGHT_LEASE_S" in ran.stderr


def test_agents_lists_what_is_defined(tmp_path: Path) -> None:
    ran = loopwright("agents", str(ROOT / "examples"), cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "refund_order (once)" in ran.stdout
    assert "desk" in ran.stdout


def test_doctor_looks_at_everything(server: FakeServer, tmp_path: Path) -> None:
    ran = loopwright("doctor", SHOP, "--model-url", server.url, "--model", "m", cwd=tmp_path)
    for topic in ("python", "redis", "model", "agents"):
        assert topic in ran.stdout
    assert "Traceback" not in ran.stderr
    away = loopwright("doctor", "missing.py", "--redis", "redis://127.0.0.1:9", "--model-url", server.url, cwd=tmp_path)
    assert away.returncode == 1
    assert away.stdout.count("FAIL") >= 2
