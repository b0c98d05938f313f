"""The command line, used as a person would, against a scripted model server and an embedded Redis."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loopwright import Agent, cli_local, load_settings, review_call
from loopwright.doctor import examine
from loopwright.errors import ExtraMissing
from loopwright.inference.embedded import EmbeddedEndpoint
from loopwright.memory.connect import open_journal
from loopwright.memory.journal.contract import Claim
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.settings import Settings
from loopwright.testing import ScriptedEndpoint, answer, call

from ..inference.fake_server import Act, FakeServer, Reply, Seen, answers, completes, says

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "examples" / "shop.py")
DESK = str(ROOT / "examples" / "desk.py")

OWN = """
from pathlib import Path
from loopwright import Agent, tool
from loopwright.testing import ScriptedEndpoint, answer, call

@tool
def note() -> str:
    "Note."
    Path("noted").touch()
    return "noted"

model = ScriptedEndpoint([call("note"), answer("done")], name="mine")
own = Agent(name="own", instructions="Note.", tools=[note], model=model)
"""

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


def loopwright(
    *arguments: str, cwd: Path, stdout: Any = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder of its own, where it keeps its data."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    return subprocess.run(
        [sys.executable, "-m", "loopwright.cli", *arguments],
        cwd=cwd, env={**environment, **variables}, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """A pipe that nobody reads, as behind `| head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


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


def test_a_run_that_waited_is_carried_on_once_it_was_answered(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "pay.py").write_text(APPROVAL)
    model = ("--model-url", server.url, "--model", "m")
    run_id = loopwright("run", "pay.py", "pay 3", *model, cwd=tmp_path).stdout.split()[1]
    unanswered = loopwright("resume", "pay.py", run_id, *model, cwd=tmp_path)
    assert unanswered.returncode == 3, unanswered.stderr

    async def approve() -> None:
        async with open_journal(load_settings(data_dir=str(tmp_path / ".loopwright"))) as (journal, _where):
            await review_call(journal, run_id, "1.1", approved=True, by="ada")

    asyncio.run(approve())
    answered = loopwright("resume", "pay.py", run_id, *model, cwd=tmp_path)
    assert answered.returncode == 0, answered.stderr
    assert "paid" in answered.stdout
    assert "It was shipped." in answered.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says_so"),
    [
        (("run", "missing.py", "x"), 2, "missing.py"),
        (("run", str(ROOT / "examples") , "x"), 2, "say which"),
        (("run", SHOP, "  "), 2, "empty"),
        (("run", SHOP, "x", "--model-url", "http://127.0.0.1:9/v1", "--model", "m"), 1, "model_unavailable"),
        (("run", SHOP, "x", "--model-url", "nonsense"), 2, "must look like http://host:port/v1"),
        (("run", SHOP, "x", "--redis", "redis://u:geheim@127.0.0.1:9"), 1, "is Redis running at 127.0.0.1:9?"),
        (("run", SHOP, "x", "--data-dir", "/dev/null"), 1, "--data-dir names another folder"),
        (("run", SHOP, "x", "--data-dir", ""), 2, "LOOPWRIGHT_DATA_DIR"),
        (("run", SHOP, "x", "--model-url", "http://127.0.0.1:9/v1"), 1, "endpoint at http://127.0.0.1:9/v1: "),
        (("show", "nothing-like-an-id"), 2, "there is no run"),
        (("show", "07" + "0" * 32), 2, "at .loopwright"),
        (("show", "\x1b[31m"), 2, "there is no run"),
        (("agents", "wrong.py"), 2, "ValueError: �[31mred"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(
    arguments: tuple[str, ...], code: int, says_so: str, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "wrong.py").write_text(r'raise ValueError("\x1b[31mred")')
    variables = {} if "--model-url" in arguments else {"LOOPWRIGHT_MODEL_URL": server.url, "LOOPWRIGHT_MODEL": "m"}
    ran = loopwright(*arguments, cwd=tmp_path, **variables)
    assert ran.returncode == code, ran.stderr
    assert says_so in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr
    assert "geheim" not in ran.stderr
    assert all(line.isprintable() for line in ran.stderr.splitlines())


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


def test_doctor_obeys_nothing_that_a_server_says(tmp_path: Path) -> None:
    models = answers({"object": "list", "data": [{"id": "m\x1b[31m\nok    redis    fine", "max_model_len": 4096}]})
    with FakeServer(shop_model, models=models) as server:
        ran = loopwright("doctor", "--model-url", server.url, cwd=tmp_path)
    assert "m�[31m" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert "\nok    redis    fine" not in ran.stdout


def test_doctor_loads_the_embedded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package or file must show here, not at the first run."""

    async def fail(_: EmbeddedEndpoint) -> None:
        raise ExtraMissing("the embedded model", "embedded")

    monkeypatch.setattr(EmbeddedEndpoint, "prepare", fail)
    in_memory = partial(open_journal, in_memory=True)
    monkeypatch.setattr("loopwright.memory.connect.open_journal", in_memory)
    findings = asyncio.run(examine(Settings(model_url=None), []))
    assert [finding.ok for finding in findings if finding.topic == "model"] == [True, False]


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_a_run_goes_on_when_nobody_reads_its_steps(option: tuple[str, ...], closed_pipe: int, tmp_path: Path) -> None:
    """`| head -1` shall show the id, not end the run."""
    (tmp_path / "own.py").write_text(OWN)
    ran = loopwright("run", "own.py", "go", *option, cwd=tmp_path, stdout=closed_pipe)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "noted").exists()
    assert "Error" not in ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", [("run", "own.py", "go", "--in-memory"), ("agents", "own.py")])
def test_a_full_disk_behind_standard_output_is_said_in_a_line(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with open("/dev/full", "w") as full:
        ran = loopwright(*command, cwd=tmp_path, stdout=full)
    assert ran.stderr.count("No space left on device") == 1
    assert "Traceback" not in ran.stderr


def test_closed_standard_streams_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    line = f"{sys.executable} -m loopwright.cli run own.py go --in-memory <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, timeout=60, check=False).returncode == 0
    assert (tmp_path / "noted").exists()


def test_a_locale_without_the_characters_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    ran = loopwright("run", "own.py", "中文", "--in-memory", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert ran.returncode == 0, ran.stderr
    assert r"\u4e2d" in ran.stdout


def test_an_agent_with_an_endpoint_of_its_own_needs_no_model_server(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    ran = loopwright("run", "own.py", "go", "--in-memory", "--model-url", "http://127.0.0.1:9/v1", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "model mine, the agent's own" in ran.stderr
    assert "127.0.0.1:9" not in ran.stderr


def test_the_lease_lasts_as_long_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(name="own", instructions="x", model=ScriptedEndpoint([answer("done")]))
    asked: list[float] = []

    class Noting(InMemoryJournal):
        async def claim(self, run_id: str, worker: str, *, ttl_s: float) -> Claim:
            asked.append(ttl_s)
            return await super().claim(run_id, worker, ttl_s=ttl_s)

    monkeypatch.setattr("loopwright.memory.journal.in_memory.InMemoryJournal", Noting)
    asyncio.run(cli_local._run(agent, Settings(lease_s=7), as_json=True, task="go", in_memory=True))
    assert asked == [7.0]


def test_a_borrowed_server_is_called_one(tmp_path: Path) -> None:
    """It ends with the process that started it, and a run of ours would fail then."""
    settings = Settings(data_dir=str(tmp_path / "data"))

    async def places() -> list[str]:
        async with open_journal(settings) as (_, own), open_journal(settings) as (_, borrowed):
            return [own, borrowed]

    own, borrowed = asyncio.run(places())
    assert "another process" not in own
    assert "another process" in borrowed


def test_tail_follows_a_run_of_another_process_to_its_end(tmp_path: Path) -> None:
    slow = Reply((Act.WAIT, *says(answer("at last")).parts))
    with FakeServer(lambda seen: slow if seen.body.get("stream") else completes("{}")) as server:
        options = ("--model-url", server.url, "--model", "m")
        run = subprocess.Popen(
            [sys.executable, "-m", "loopwright.cli", "run", DESK, "go", *options],
            cwd=tmp_path, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert run.stdout is not None
        with run:
            run_id = run.stdout.readline().split()[1]
            tail = subprocess.Popen(
                [sys.executable, "-m", "loopwright.cli", "tail", run_id],
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert tail.stdout is not None
            first = tail.stdout.readline()
            server.gate.set()  # not before the tail is connected: Redis goes with the run
            rest, problem = tail.communicate(timeout=60)
    assert tail.returncode == 0, problem
    assert run_id in first
    assert "at last" in rest
