"""What a person sees while a run happens: the steps, and below them what is going on right now."""

import io

import pytest
from rich.console import Console

from loopwright.cli_live import LiveView, Now, clock, event_of, tail_of
from loopwright.cli_render import SERVER_HINTS, RunPrinter
from loopwright.planner import events as ev

CALLS = (ev.ToolCall("1.1", "look", "{}"), ev.ToolCall("1.2", "pay\x1b[31m", "{}"))
DECIDED = ev.StepDecided(1, "{}", CALLS, tokens=ev.Tokens(1200, 0, 34))


def line_of(now: Now, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(now, end="")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def test_the_last_line_says_step_calls_tokens_and_time() -> None:
    now = Now()
    now.take(ev.RunClaimed(1, "w"))
    now.take(DECIDED)
    line = line_of(now)
    for piece in ("running", "step 1", "look, pay", "1,234 tokens", "0.0 s"):
        assert piece in line
    now.take(ev.CallFinished("1.1", "look", "x", usage=ev.Tokens(6)))
    assert "look" not in line_of(now)
    assert "1,240 tokens" in line_of(now)
    now.take(ev.RunWaiting("approval", ("1.2",)))
    assert "waiting for approval" in line_of(now)
    now.take(ev.RunReleased("drain"))
    assert "queued" in line_of(now)


def test_the_last_line_fits_and_obeys_nothing_that_a_model_writes() -> None:
    now = Now()
    now.take(DECIDED)
    now.write("thinking\x1b[2J\nof " + "a" * 500 + " THE END")
    for width in (40, 80, 120):
        line = line_of(now, width)
        assert len(line) <= width
        assert line.isprintable()
    assert "THE END" in line_of(now, 120)
    now.take(ev.StepRejected(2, "", "no"))
    assert "THE END" not in line_of(now, 120), "a step that was decided is no longer being written"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.26, "0.3 s"), (59.9, "59.9 s"), (60, "1:00"), (3599, "59:59"), (7322, "2:02:02")]
)
def test_time_is_shown_as_people_read_it(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_only_the_end_of_a_long_text_is_shown() -> None:
    assert tail_of("short\ntext", 20) == "short text"
    assert tail_of("a" * 20 + "end", 8) == "…aaaaend"


def view(is_terminal: bool) -> tuple[LiveView, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, color_system=None, width=100, soft_wrap=True)
    return LiveView(screen=console), file


def test_where_no_terminal_is_only_the_lines_are_printed() -> None:
    shown, file = view(is_terminal=False)
    with shown:
        shown.show(DECIDED)
        shown.write("hello")
    assert file.getvalue().splitlines()[1:] == ["    look {}", "    pay�[31m {}"]
    assert "tokens" not in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_the_last_line_makes_room_for_a_question_until_all_are_answered() -> None:
    shown, file = view(is_terminal=True)
    with shown:
        assert shown._live is not None
        with shown.aside():
            with shown.aside():
                assert shown._live is None
            assert shown._live is None
            shown.show(DECIDED)
        assert shown._live is not None
    assert shown._live is None
    assert "look" in file.getvalue()


def printed(*events: ev.Event, hints: dict[str, str] | None = None) -> str:
    lines: list[str] = []
    printer = RunPrinter(lambda line: lines.append(line.plain), hints=hints)
    for event in events:
        printer.show(event)
    return "\n".join(lines)


def test_a_lost_worker_is_told_and_an_ordinary_claim_is_not() -> None:
    first, second, third = (ev.RunClaimed(epoch, f"w{epoch}") for epoch in (1, 2, 3))
    assert printed(first) == ""
    assert "worker lost w2 carries on, attempt 2" in printed(first, second)
    drained = printed(first, ev.RunReleased("drain", "soon"), second)
    assert "handed over because its worker stops: soon" in drained
    assert "worker lost" not in drained
    assert "worker lost" not in printed(first, ev.RunWaiting("approval", ("1.1",)), second)
    assert printed(first, second, third).count("worker lost") == 2


def test_a_decision_is_told_and_handing_a_run_back_after_it_is_not() -> None:
    edited = ev.CallReviewed("1.2", True, by="ada", arguments='{"amount":2}')
    told = printed(DECIDED, edited, ev.RunReleased("answered"))
    assert told.splitlines()[-1] == '    approved pay�[31m by ada with {"amount":2}'
    refused = printed(ev.CallReviewed("1.2", False, by="ada", note="too much"))
    assert refused == "    refused 1.2 by ada: too much"


def test_what_to_do_about_a_wait_depends_on_where_the_run_is() -> None:
    waiting = ev.RunWaiting("in_doubt", ("1.1",))
    assert "settle_call" in printed(waiting)
    assert "loopwright approve" in printed(waiting, hints=SERVER_HINTS)


def test_an_event_of_a_later_version_is_passed_over() -> None:
    assert event_of({"v": 1, "type": "run.noticed", "kind": "loop", "text": "x"}) == ev.Noticed("loop", "x")
    assert event_of({"v": 1, "type": "run.celebrated"}) is None
    assert event_of({"v": 9, "type": "run.noticed", "kind": "loop", "text": "x"}) is None
