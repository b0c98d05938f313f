"""`loopwright serve`: one command is a whole server, any part of which may be killed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loopwright import Client
from loopwright.cli import app
from loopwright.testing import answer, call

from ..inference.fake_server import FakeServer, Reply, Seen, completes, says
from .served import Served, alive, environment, eventually, served

AGENTS = """
import os
import time
from pathlib import Path
from loopwright import Agent, tool

@tool(effect="read", timeout_s=60)
def nap(gate: str) -> str:
    "Wait until a file is there."
    Path("napping").touch()
    while not Path(gate).exists():
        time.sleep(0.02)
    return "rested"

@tool(effect="read", queue="heavy")
def crunch(number: int) -> str:
    "Crunch in a process of its own."
    return f"crunched in {os.getpid()}"

sleeper = Agent(name="sleeper", instructions="Sleep.", tools=[nap])
cruncher = Agent(name="cruncher", instructions="Crunch.", tools=[crunch])
"""


def sleepy(seen: Seen) -> Reply:
    """Nap first, then answer."""
    messages = seen.body["messages"]
    if messages[0]["role"] != "system":
        return completes("{}")
    if len(messages) > 2:
        return says(answer("awake"))
    return says(call("crunch", number=4) if "crunch(" in messages[0]["content"] else call("nap", gate="gate"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agents.py").write_text(AGENTS)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Served]:
    with (
        FakeServer(sleepy) as model,
        served(
            folder,
            ["agents.py"],
            "--model-url",
            model.url,
            "--model",
            "m",
            LOOPWRIGHT_LEASE_S="2",
            LOOPWRIGHT_GRACE_S="5",
        ) as running,
    ):
        yield running


def test_one_command_is_a_whole_server_and_says_where_it_is(server: Served, folder: Path) -> None:
    (folder / "gate").touch()
    with Client(server.url) as client:
        assert client.run("sleeper", "sleep", timeout_s=60).output == "awake"
    banner = "".join(server.printed)
    for piece in (
        "sleeper",
        "model   ",
        "m at http://127.0.0.1",
        "everysec",
        "embedded",
        "1 process",
        "keys",
        "submit cruncher",
    ):
        assert piece in banner
    parts = server.children
    assert set(parts) == {"api", "worker", "redis"}
    assert server.end() == 0
    assert not any(alive(pid) for pid in parts.values())


def test_readiness_and_checks_are_told_to_machines_as_json(folder: Path) -> None:
    with served(folder, ["agents.py"], "--json", "--workers", "0") as server:
        ready = json.loads(eventually(lambda: "".join(server.printed), "the line"))
        assert (ready["event"], ready["agents"], ready["workers"]) == ("ready", ["cruncher", "sleeper"], 0)
        with Client(ready["url"]) as client:
            assert client.submit("sleeper", "x").status == "queued"
    ran = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "doctor", "agents.py", "--json"],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {each["topic"] for each in found} >= {"python", "redis", "model", "agents"}
    assert found[0]["ok"]


def test_a_server_with_keys_lets_nobody_in_without_one(folder: Path) -> None:
    with served(folder, ["agents.py"]) as server:
        url = server.url
        made = subprocess.run(
            [sys.executable, "-m", "loopwright.cli", "keys", "create", "--scopes", "runs"],
            cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        eventually(lambda: listed(url).returncode == 2, "the end of access without a key")
        assert "LOOPWRIGHT_KEY" in listed(url).stderr or "key" in listed(url).stderr
        assert listed(url, LOOPWRIGHT_KEY=made.stdout.strip()).returncode == 0
        server.end()
    with served(folder, ["agents.py"]) as again:
        assert again.url
        assert "needed for every request" in "".join(again.printed)


def test_tools_of_a_queue_run_in_workers_of_their_own_and_following_waits_for_them(
    server: Served, folder: Path
) -> None:
    assert server.url
    command = [sys.executable, "-m", "loopwright.cli"]
    following = subprocess.Popen(
        [*command, "submit", "cruncher", "go", "--follow", "--url", server.url],
        stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    with Client(server.url) as client:
        eventually(lambda: [run for run in client.list(status="waiting") if run.reason == "tool"], "the call")
    worker = subprocess.Popen(
        [*command, "worker", "agents.py", "--queue", "heavy", "--pool", "prefork"],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        printed, _ = following.communicate(timeout=60)
        assert following.returncode == 0
        crunched = int(re.findall(r"crunched in (\d+)", printed)[0])
        assert crunched not in (worker.pid, server.child("worker"))
    finally:
        following.kill()
        worker.terminate()
        worker.wait(30)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_pool_for_tools_needs_the_name_of_their_queue(pool: str) -> None:
    ran = CliRunner().invoke(app, ["worker", "--pool", pool])
    assert ran.exit_code == 2
    assert "name their queue with --queue" in ran.stderr


def listed(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """List the runs of a server."""
    return subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "runs", "list", "--url", url],
        env=environment(**variables), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_killed_worker_is_replaced_and_its_run_goes_on(server: Served, folder: Path) -> None:
    with Client(server.url) as client:
        run = client.submit("sleeper", "sleep")
        events = client.events(run.id)
        eventually((folder / "napping").exists, "the tool call")
        killed = server.child("worker")
        os.kill(killed, signal.SIGKILL)
        assert "worker was killed by SIGKILL; it is started again" in server.says("SIGKILL")
        (folder / "gate").touch()
        assert server.child("worker", other_than=killed)
        assert client.wait(run.id, timeout_s=60).output == "awake"
        kinds = [event.type for event in events]
    assert kinds.count("run.claimed") == 2
    assert kinds[-1] == "run.succeeded"


def test_a_killed_api_is_replaced_at_the_same_address_while_a_client_watches(server: Served, folder: Path) -> None:
    with Client(server.url, patience_s=60) as client:
        run = client.submit("sleeper", "sleep")
        events = client.events(run.id)
        seen = [next(events).id]
        killed = server.child("api")
        os.kill(killed, signal.SIGKILL)
        server.child("api", other_than=killed)
        (folder / "gate").touch()
        seen += [event.id for event in events]
        assert seen == [event.id for event in client.journal(run.id)]
        assert client.get(run.id).output == "awake"


def test_a_killed_redis_is_started_again_on_its_data(server: Served, folder: Path) -> None:
    (folder / "gate").touch()
    with Client(server.url, patience_s=60) as client:
        run = client.run("sleeper", "sleep", timeout_s=60)
        eventually(lambda: b"run.succeeded" in stored(folder), "the append-only file")
        killed = server.child("redis")
        os.kill(killed, signal.SIGKILL)
        server.says("the embedded Redis has died")
        assert server.child("redis", other_than=killed)
        assert client.get(run.id).output == "awake"
        assert client.run("sleeper", "sleep", timeout_s=60).output == "awake"


def stored(folder: Path) -> bytes:
    """Return what Redis has on disk."""
    return b"".join(path.read_bytes() for path in (folder / ".loopwright").rglob("*.aof"))


def test_a_busy_server_hands_its_runs_over_and_another_carries_on(folder: Path) -> None:
    with FakeServer(sleepy) as model:
        options = ("--model-url", model.url, "--model", "m")
        with served(folder, ["agents.py"], *options, LOOPWRIGHT_GRACE_S="2") as first:
            with Client(first.url) as client:
                run = client.submit("sleeper", "sleep")
            eventually((folder / "napping").exists, "the tool call")
            parts = first.children
            assert first.end(signal.SIGINT) == 0
            assert "hand their runs over" in "".join(first.said)
            assert not any(alive(pid) for pid in parts.values())
        (folder / "gate").touch()
        with served(folder, ["agents.py"], *options) as second, Client(second.url) as client:
            assert client.wait(run.id, timeout_s=60).output == "awake"


def test_the_second_signal_ends_everything_at_once(folder: Path) -> None:
    with FakeServer(sleepy) as model:
        options = ("--model-url", model.url, "--model", "m")
        with served(folder, ["agents.py"], *options, LOOPWRIGHT_GRACE_S="600") as server:
            with Client(server.url) as client:
                client.submit("sleeper", "sleep")
            eventually((folder / "napping").exists, "the tool call")
            parts = server.children
            server.process.send_signal(signal.SIGINT)
            server.says("press Ctrl-C again")
            assert server.end(signal.SIGINT, within_s=30) == 0
            assert not any(alive(pid) for pid in parts.values())


def test_nothing_outlives_a_supervisor_that_is_killed(server: Served) -> None:
    assert server.url
    parts = server.children
    server.end(signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in parts.values()), "the end of all parts")


@pytest.mark.parametrize(
    ("sources", "options", "code", "says_so"),
    [
        (["missing.py"], (), 2, "there is no such file or folder"),
        (["broken.py"], (), 2, "No module named 'nothing_like_this'"),
        (["agents.py"], ("--host", "0.0.0.0"), 2, "there are no API keys yet"),
        (["agents.py"], ("--redis", "redis://u:geheim@127.0.0.1:9"), 1, "is Redis running at 127.0.0.1:9?"),
        (["agents.py"], ("--port", "70000"), 2, "LOOPWRIGHT_PORT"),
        (["agents.py"], ("--data-dir", "/dev/null"), 1, "--data-dir names another folder"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_start_says_why_once(
    sources: list[str], options: tuple[str, ...], code: int, says_so: str, folder: Path
) -> None:
    (folder / "broken.py").write_text("import nothing_like_this")
    ran = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "serve", *sources, "--port", "0", *options],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == code, ran.stderr
    assert ran.stderr.count(says_so) == 1
    assert "Traceback" not in ran.stderr
    assert "geheim" not in ran.stderr
    assert ran.stdout == ""


def test_secrets_are_no_arguments_of_the_parts(folder: Path) -> None:
    with served(folder, ["agents.py"], LOOPWRIGHT_MODEL_KEY="geheim", LOOPWRIGHT_PEPPER="p" * 40) as server:
        assert server.url
        for pid in server.children.values():
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"geheim" not in line
            assert b"pppp" not in line
