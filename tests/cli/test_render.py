"""What a model, a tool or a server wrote is shown, and never obeyed."""

import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from loopwright.cli_render import RunPrinter, printable, printable_json, printable_lines
from loopwright.planner import events as ev

HOSTILE = "[/nope] [red]\x1b[31m\x9b2J\u202eevil\x7f\r\\"
"""Markup, escape sequences in both forms, a bidirectional override, DEL, a return and a trailing backslash."""


def shown(*events: ev.Event) -> str:
    console = Console(file=io.StringIO(), highlight=False, soft_wrap=True, force_terminal=True, color_system=None)
    printer = RunPrinter(console.print)
    for event in events:
        printer.show(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain", "plain"),
        ("中文, ελληνικά, हिन्दी, עברית, é, 🦊", "中文, ελληνικά, हिन्दी, עברית, é, 🦊"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("a\tb\nc\u00a0d", "a b c d"),
        ("\x1b[31m", "�[31m"),
        ("\x9b31m", "�31m"),
        ("a\u202eb\u2066c\u200fd", "a�b�c�d"),
        ("\x7f\ud800\ufeff", "���"),
    ],
)
def test_letters_of_every_script_stay_and_what_a_terminal_would_obey_goes(text: str, safe: str) -> None:
    assert printable(text) == safe


@pytest.mark.parametrize("text", [HOSTILE, "\x9b\u202e\x7f", "\U000e0041 tag", "中文 \u200c", "a\nb"])
def test_json_keeps_its_value_and_prints_nothing_unprintable(text: str) -> None:
    safe = printable_json(json.dumps({"text": text}, ensure_ascii=False))
    assert safe.isprintable()
    assert json.loads(safe) == {"text": text}


def test_further_lines_cannot_pass_for_lines_of_ours() -> None:
    assert printable_lines("agents wrong\n\n  tools: bad\nok    redis\x1b") == (
        "agents wrong\n    tools: bad\n    ok    redis�"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda text: ev.RunCreated(text, "t", text, "h", text),
        lambda text: ev.RunCreated("r", "t", "a", "h", {text: text}),
        lambda text: ev.StepDecided(1, json.dumps({"thought": text}), (ev.ToolCall(text, text, text),)),
        lambda text: ev.StepRejected(1, "", text),
        lambda text: ev.TurnTaken("plan", "", text),
        lambda text: ev.CallFinished(text, text, text, error=text),
        lambda text: ev.CallInDoubt("1.1", text, text),
        lambda text: ev.CallReviewed(text, True, by=text, note=text, arguments=text),
        lambda text: ev.RunReleased(text, text),
        lambda text: ev.Noticed("loop", text),
        lambda text: ev.BudgetReached(text, text),
        lambda text: ev.RunWaiting("approval", (text,)),
        lambda text: ev.RunSucceeded(json.dumps(text)),
        lambda text: ev.RunFailed(text, text),
        lambda text: ev.RunCancelled(text),
        lambda text: ev.RunExpired(text),
    ],
)
def test_no_field_of_an_event_is_read_as_markup_or_reaches_the_terminal_raw(make: Callable[[str], ev.Event]) -> None:
    screen = shown(make(HOSTILE))
    assert all(line.isprintable() for line in screen.split("\n"))
    assert "[/nope]" in screen


def test_two_halves_of_a_tag_in_two_fields_stay_text() -> None:
    screen = shown(ev.CallInDoubt("1.1", "[/x", "y]"))
    assert "in doubt [/x (y]): it is not known" in screen
