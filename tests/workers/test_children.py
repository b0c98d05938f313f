"""Child processes: when they are ready, how they ended, how soon they are started again."""

import os
import subprocess
import sys

import pytest

from loopwright.workers.children import FIRST_PAUSE_S, HEALTHY_S, LONGEST_PAUSE_S, Child, Pauses, how_it_ended


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (2, "ended with exit code 2"),
        (-9, "was killed by SIGKILL"),
        (-64, "was killed by SIGRTMAX"),
        (-99, "was killed by signal 99"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words


def test_a_child_that_dies_of_its_start_is_started_more_and_more_slowly() -> None:
    pauses = Pauses()
    waited = [pauses.after(0.1) for _ in range(10)]
    assert waited[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert waited[-1] == LONGEST_PAUSE_S
    assert pauses.after(HEALTHY_S) == FIRST_PAUSE_S, "one that served well starts anew at once"


def test_what_a_child_says_before_it_is_ready_is_held_back_until_then() -> None:
    heard: list[tuple[str, str]] = []
    child = Child("api", [], {}, ready="listening on ", hear=lambda name, line: heard.append((name, line)))
    child._take("a warning")
    assert heard == []
    child._take("api listening on http://x")
    assert child.ready.is_set()
    assert child.ready_line == "api listening on http://x"
    child._take("news")
    assert heard == [("api", "a warning"), ("api", "news")]


def test_a_process_whose_parent_is_gone_ends_at_once() -> None:
    code = "import sys; from loopwright.workers.children import end_with; end_with(int(sys.argv[1])); print('serves')"
    for parent, ends, printed in ((os.getpid(), 0, "serves\n"), (1, 1, "")):
        ran = subprocess.run(
            [sys.executable, "-c", code, str(parent)], capture_output=True, text=True, timeout=30, check=False
        )
        assert (ran.returncode, ran.stdout) == (ends, printed)
