"""The question at the terminal, through a terminal of the test's own."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

AGENT = r"""
from loopwright import Agent, tool
from loopwright.testing import ScriptedEndpoint, answer, call

@tool(approval=True, effect="keyed")
def pay(amount: int, note: str) -> str:
    "Pay."
    return "the money is gone"

model = ScriptedEndpoint([call("pay", amount=3, note="\x9b31m\u202eевро" + "x" * 300 + "THE END"), answer("done")])
payer = Agent(name="payer", instructions="Pay.", tools=[pay], model=model)
"""

PROMPT = "allow pay? "


class Terminal:
    """A run whose questions appear on a terminal of ours; its steps go to a pipe."""

    def __init__(self, process: subprocess.Popen[str], screen: int) -> None:
        self.process = process
        self._screen = screen
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read the screen until a text has appeared."""
        ends = time.monotonic() + 60
        while text not in self.seen:
            assert select.select([self._screen], [], [], max(0, ends - time.monotonic()))[0], self.seen
            self.seen += os.read(self._screen, 4096).decode()

    def type(self, text: str) -> None:
        """Type keys."""
        os.write(self._screen, text.encode())

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        printed, _ = self.process.communicate(timeout=60)
        return self.process.returncode, printed


@contextmanager
def asked(folder: Path, *arguments: str) -> Iterator[Terminal]:
    """Start a run that asks for approval, and wait for the question."""
    (folder / "pay.py").write_text(AGENT)
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "loopwright.cli", "run", "pay.py", "pay 3", "--in-memory", *arguments],
        cwd=folder, stdin=keyboard, stderr=keyboard, stdout=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    os.close(keyboard)
    with process:
        terminal = Terminal(process, screen)
        try:
            terminal.wait_for(PROMPT)
            yield terminal
        finally:
            process.kill()
            os.close(screen)


def test_a_call_is_shown_in_full_and_approved(tmp_path: Path) -> None:
    with asked(tmp_path) as terminal:
        terminal.type("perhaps\n")
        terminal.wait_for("allow pay? [y/n, Ctrl-D leaves the run waiting] perhaps")
        terminal.type("y\n")
        code, printed = terminal.end()
    assert code == 0
    assert "the money is gone" in printed
    assert "effect     keyed" in terminal.seen
    assert r'{"amount":3,"note":"\u009b31m\u202eевро' in terminal.seen
    assert "THE END" in terminal.seen
    assert "\x9b" not in terminal.seen
    assert "\u202e" not in terminal.seen


def test_a_refused_call_is_not_made(tmp_path: Path) -> None:
    with asked(tmp_path, "--json") as terminal:
        terminal.type("n\n")
        code, printed = terminal.end()
    assert code == 0
    assert "the money is gone" not in printed
    assert '"approved":false' in printed


def test_ctrl_d_leaves_the_run_waiting(tmp_path: Path) -> None:
    with asked(tmp_path) as terminal:
        terminal.type("y\x04\x04")  # an answer without its end is none
        code, printed = terminal.end()
    assert code == 3
    assert "waiting for approval" in printed
    assert "Traceback" not in terminal.seen


def test_ctrl_c_ends_the_process_at_once(tmp_path: Path) -> None:
    with asked(tmp_path) as terminal:
        started = time.monotonic()
        terminal.process.send_signal(signal.SIGINT)
        code, _ = terminal.end()
        assert code == 130
        assert time.monotonic() - started < 10
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_nobody_is_asked_where_the_question_cannot_be_read_or_answered(stream: str, tmp_path: Path) -> None:
    (tmp_path / "pay.py").write_text(AGENT)
    screen, keyboard = pty.openpty()
    streams = {"stdin": keyboard, "stderr": keyboard} | {stream: subprocess.DEVNULL}
    ran = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "run", "pay.py", "pay 3", "--in-memory"],
        cwd=tmp_path, stdin=streams["stdin"], stderr=streams["stderr"], stdout=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(keyboard)
    os.close(screen)
    assert ran.returncode == 3
