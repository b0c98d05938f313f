"""Commands that ask a server, against a real one: `submit`, `runs …`, `approve`, `agents`."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.testing import answer, call

from ..inference.fake_server import FakeServer, Reply, Seen, completes, fails, says
from .served import Served, environment, served

AGENTS = """
from loopwright import Agent, tool

@tool(approval=True, effect="keyed")
def pay(amount: int) -> str:
    "Pay."
    return f"paid {amount}"

@tool(effect="read")
def look(what: str) -> str:
    "Look."
    return "it is blue"

payer = Agent(name="payer", instructions="Pay.", tools=[pay])
looker = Agent(name="looker", instructions="Look.", tools=[look])
"""


def script(seen: Seen) -> Reply:
    """Call a tool, then answer with what it returned."""
    messages = seen.body["messages"]
    if messages[0]["role"] != "system":
        return completes("{}")
    if "twice" in messages[1]["content"] and len(messages) < 6:
        return says(call("pay", amount=len(messages)))
    if "nonsense" in messages[1]["content"]:
        return fails(400, "no such thing")
    if len(messages) == 2:
        return says(call("pay", amount=3) if "pay(" in messages[0]["content"] else call("look", what="sky"))
    found = messages[-1]["content"]
    return says(answer("blue" if "blue" in found else found.partition(">")[2].partition("<")[0].strip() or "done"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "agents.py").write_text(AGENTS)
    with (
        FakeServer(script) as model,
        served(folder, ["agents.py"], "--model-url", model.url, "--model", "m") as running,
    ):
        assert running.url
        yield running


def asks(server: Served, *arguments: str, told: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that asks the server."""
    return subprocess.run(
        [sys.executable, "-m", "loopwright.cli", *arguments], input=told, capture_output=True, text=True, timeout=120,
        env=environment(LOOPWRIGHT_URL=server.url, **variables), check=False,
    )  # fmt: skip


def says_of(ran: subprocess.CompletedProcess[str], code: int = 0) -> str:
    """Return what a command printed, once it has ended as it should."""
    assert ran.returncode == code, ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr
    return ran.stdout


def test_a_submitted_task_is_an_id_that_every_other_command_takes(server: Served) -> None:
    run_id = says_of(asks(server, "submit", "looker", "what colour?")).strip()
    tailed = says_of(asks(server, "runs", "tail", run_id))
    assert tailed == says_of(asks(server, "runs", "show", run_id))
    for piece in (run_id, "what colour?", "look", "it is blue", "succeeded", "2 steps, 1 call"):
        assert piece in tailed
    listed = says_of(asks(server, "runs", "list", "--agent", "looker", "--status", "succeeded"))
    assert run_id in listed
    types = [json.loads(line)["type"] for line in says_of(asks(server, "runs", "show", run_id, "--json")).splitlines()]
    assert types[0] == "run.created"
    assert types[-1] == "run.succeeded"


def test_a_task_can_be_waited_for_or_followed(server: Served) -> None:
    assert says_of(asks(server, "submit", "looker", "-", "--wait", told="what colour?")) == "blue\n"
    followed = says_of(asks(server, "submit", "looker", "what?", "--follow"))
    assert followed.splitlines()[0].startswith("run ")
    assert "succeeded" in followed
    run = json.loads(says_of(asks(server, "submit", "looker", '{"q": 1}', "--json-task", "--wait", "--json")))
    assert run["task"] == {"q": 1}
    assert run["output"] == "blue"


def test_a_run_that_fails_ends_the_command_with_1(server: Served) -> None:
    assert "failed (model_refused)" in says_of(asks(server, "submit", "looker", "nonsense", "--wait"), 1)
    assert "failed model_refused" in says_of(asks(server, "submit", "looker", "nonsense", "--follow"), 1)


def test_the_same_key_and_task_are_the_same_run(server: Served) -> None:
    first, second = (says_of(asks(server, "submit", "looker", "x", "--idempotency-key", "k1")) for _ in range(2))
    assert first == second
    refused = asks(server, "submit", "looker", "y", "--idempotency-key", "k1")
    assert "Use a new key" in refused.stderr
    says_of(refused, 2)


def test_a_run_can_be_cancelled_forked_and_exported(server: Served, tmp_path: Path) -> None:
    waiting = says_of(asks(server, "submit", "payer", "pay 3")).strip()
    assert waiting in says_of(asks(server, "runs", "cancel", waiting, "--reason", "enough"))
    assert "cancelled enough" in says_of(asks(server, "runs", "tail", waiting), 1)
    done = json.loads(says_of(asks(server, "submit", "looker", "x", "--wait", "--json")))["id"]
    forked = says_of(asks(server, "runs", "fork", done, "--step", "1", "--task", "again", "--wait"))
    assert forked == "blue\n"
    file = tmp_path / "run.json"
    says_of(asks(server, "runs", "export", done, "-o", str(file)))
    exported = json.loads(file.read_text())
    assert exported["run"]["id"] == done
    assert exported == json.loads(says_of(asks(server, "runs", "export", done)))
    assert "cannot be written: File exists" in asks(server, "runs", "export", done, "-o", str(file)).stderr


def paused(server: Served) -> tuple[str, dict[str, str]]:
    """Return a run that waits for approval, and the approval."""
    ran = asks(server, "submit", "payer", "pay 3", "--wait", "--json")
    run_id = json.loads(says_of(ran, 3))["id"]
    (line,) = says_of(asks(server, "approve", run_id, "--json")).splitlines()
    return run_id, json.loads(line)


def test_a_call_that_waits_is_listed_with_what_to_do(server: Served) -> None:
    run_id, approval = paused(server)
    tailed = says_of(asks(server, "runs", "tail", run_id), 3)
    assert "loopwright approve" in tailed
    listed = says_of(asks(server, "approve"))
    for piece in (approval["id"], "pay of payer asks for approval", '{"amount":3}', approval["digest"][:16]):
        assert piece in listed


@pytest.mark.parametrize(
    ("options", "decided", "ends"),
    [
        (["--yes"], '{"amount":3}', "paid 3"),
        (["--edit", '{"amount": 2}'], '{"amount":2}', "paid 2"),
        (["--reject", "too much"], "reject by", "too much"),
    ],
)
def test_a_call_is_decided_by_an_option(server: Served, options: list[str], decided: str, ends: str) -> None:
    run_id, approval = paused(server)
    answered = says_of(asks(server, "approve", approval["id"], *options, "--digest", approval["digest"][:12]))
    assert decided in answered.replace(": ", ":")
    assert ends in says_of(asks(server, "runs", "tail", run_id))


def test_a_run_that_waits_again_is_followed_past_what_was_decided(server: Served) -> None:
    run_id = json.loads(says_of(asks(server, "submit", "payer", "pay twice", "--wait", "--json"), 3))["id"]
    says_of(asks(server, "approve", run_id, "--yes"))
    followed = asks(server, "runs", "tail", run_id)
    assert "paid 2" in says_of(followed, 3)
    assert followed.stdout.count("waiting for approval") == 2
    says_of(asks(server, "approve", run_id, "--yes"))
    assert "paid 4" in says_of(asks(server, "runs", "tail", run_id))


def test_a_decision_about_another_call_than_was_seen_is_not_sent(server: Served) -> None:
    run_id, approval = paused(server)
    ran = asks(server, "approve", approval["id"], "--yes", "--digest", "beef")
    assert "another call by now" in ran.stderr
    says_of(ran, 2)
    assert "waiting" in says_of(asks(server, "runs", "list", "--status", "waiting"))
    says_of(asks(server, "runs", "cancel", run_id))


def test_a_person_is_asked_on_a_terminal(server: Served) -> None:
    run_id, _ = paused(server)
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "loopwright.cli", "approve", run_id],
        stdin=keyboard, stdout=keyboard, stderr=keyboard, env=environment(LOOPWRIGHT_URL=server.url),
        start_new_session=True,
    )  # fmt: skip
    os.close(keyboard)
    try:
        seen = read_until(screen, "[a/e/r, Enter leaves it] ")
        assert '{"amount":3}' in seen
        os.write(screen, b"maybe\n")
        read_until(screen, "[a/e/r, Enter leaves it] ")
        os.write(screen, b"e\n")
        read_until(screen, "as a JSON object: ")
        os.write(screen, b'{"amount": 1}\n')
        read_until(screen, "edit by ")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(screen)
    assert "paid 1" in says_of(asks(server, "runs", "tail", run_id))


def read_until(screen: int, text: str) -> str:
    """Return what appeared on a terminal up to a text."""
    ends = time.monotonic() + 60
    seen = ""
    while text not in seen:
        assert select.select([screen], [], [], max(0.0, ends - time.monotonic()))[0], seen
        seen += os.read(screen, 4096).decode(errors="replace")
    return seen


def test_a_terminal_shows_what_is_happening_below_the_steps(server: Served) -> None:
    run_id, _ = paused(server)
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "loopwright.cli", "runs", "tail", run_id],
        stdin=keyboard, stdout=keyboard, stderr=subprocess.DEVNULL, start_new_session=True,
        env=environment(LOOPWRIGHT_URL=server.url, TERM="xterm", COLUMNS="100"),
    )  # fmt: skip
    os.close(keyboard)
    try:
        seen = read_until(screen, "tokens")
        assert "step " in seen
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()
        os.close(screen)
    says_of(asks(server, "runs", "cancel", run_id))


def test_no_call_that_waits_is_said(server: Served) -> None:
    for line in says_of(asks(server, "runs", "list", "--status", "waiting", "--json")).splitlines():
        says_of(asks(server, "runs", "cancel", json.loads(line)["id"]))
    listed = asks(server, "approve")
    assert says_of(listed) == ""
    assert "nothing waits" in listed.stderr
    assert asks(server, "approve", "--json").stderr == ""


def test_agents_are_those_of_the_server_when_no_file_is_named(server: Served) -> None:
    assert "payer" in says_of(asks(server, "agents"))
    named = {json.loads(line)["name"] for line in says_of(asks(server, "agents", "--json")).splitlines()}
    assert named == {"looker", "payer"}


@pytest.mark.parametrize(
    ("arguments", "code", "says_so"),
    [
        (("submit", "nobody", "x"), 2, "known agents: looker, payer"),
        (("submit", "looker", "  "), 2, "empty"),
        (("submit", "looker", "{", "--json-task"), 2, "TASK is no JSON"),
        (("submit", "looker", "x", "--metadata", "[1]"), 2, "metadata"),
        (("runs", "show", "7"), 2, "there is no run '7'"),
        (("runs", "tail", "07" + "0" * 32), 2, "Check the id"),
        (("runs", "list", "--status", "odd"), 2, "status"),
        (("approve", "7:1.1"), 2, "nothing waits"),
        (("approve", "--yes"), 2, "say which call"),
        (("approve", "7:1.1", "--yes", "--reject", "no"), 2, "one decision at a time"),
        (("approve", "7:1.1", "--edit", "[1]"), 2, "JSON object"),
        (("agents", "--url", "nonsense"), 2, "must look like http://host:port"),
        (("agents", "--key", "no key"), 2, "LOOPWRIGHT_KEY"),
        (("agents", "--url", "http://127.0.0.1:9"), 1, "is the server running?"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(server: Served, arguments: tuple[str, ...], code: int, says_so: str) -> None:
    ran = asks(server, *arguments)
    says_of(ran, code)
    assert says_so in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "no key" not in ran.stderr.replace("is no key", "")
