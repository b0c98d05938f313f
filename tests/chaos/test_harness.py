"""The harness sees what it is there to see: journals with a flaw, effects that happened twice, prompts that differ."""

import pytest

from loopwright.memory.journal.contract import Stored
from loopwright.planner import events as ev

from .checker import Verdict, count_effects, count_prompts, prompts, torn

CALL = ev.ToolCall("1.1", "pay", '{"step":1}')
GOOD: list[ev.Event] = [
    ev.RunCreated("00" + "0" * 32, "local", "chaos", "hash", "run=x plan=pay"),
    ev.RunClaimed(1, "w1"),
    ev.RunStarted("head"),
    ev.StepDecided(1, '{"thought":"","calls":[]}', (CALL,)),
    ev.CallIntended("1.1", "pay", "once", "key"),
    ev.CallFinished("1.1", "pay", "paid"),
    ev.StepDecided(2, '{"thought":"","answer":"done"}', answer='"done"'),
    ev.RunSucceeded('"done"'),
]


def stored(events: list[ev.Event]) -> list[Stored]:
    return [Stored(f"{number}-0", event) for number, event in enumerate(events, 1)]


def test_a_faultless_journal_has_nothing_wrong() -> None:
    assert torn(stored(GOOD)) is None


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([*GOOD, GOOD[-1]], "behind the final event"),
        ([*GOOD[:2], ev.RunClaimed(3, "w2"), *GOOD[2:]], "epochs"),
        ([*GOOD[:6], ev.StepDecided(3, "x", answer='"x"'), GOOD[-1]], "steps"),
        ([*GOOD[:6], GOOD[5], *GOOD[6:]], "not open"),
        (GOOD[1:], "begins with run.created"),
    ],
)
def test_a_journal_with_a_flaw_is_torn(events: list[ev.Event], said: str) -> None:
    assert said in (torn(stored(events)) or "")


def test_events_out_of_order_are_seen() -> None:
    good = stored(GOOD)
    assert torn([good[1], good[0], *good[2:]]) == "its events are out of order"


def effect(call: str = "1.1", tool: str = "pay", kind: str = "once", key: str = "key") -> dict[str, str]:
    return {"kind": "sent", "run": "r", "call": call, "tool": tool, "effect": kind, "key": key}


def judged(sent: list[dict[str, str]], events: list[ev.Event]) -> dict[str, list[str]]:
    verdict = Verdict()
    count_effects(verdict, sent, {"r": stored(events)})
    return verdict.broken


def test_effects_that_happened_twice_or_that_nobody_wrote_down_are_seen() -> None:
    assert judged([effect()], GOOD) == {}
    assert list(judged([effect(), effect()], GOOD)) == ["resent_once"]
    assert list(judged([effect()], [*GOOD[:5], GOOD[-1]])) == ["unlisted"]
    assert list(judged([effect("2.1")], GOOD)) == ["unjournaled", "unlisted"]
    assert list(judged([effect(kind="keyed"), effect(kind="keyed", key="other")], GOOD)) == ["torn"]


def test_a_call_that_is_said_to_be_in_doubt_is_listed() -> None:
    assert judged([effect()], [*GOOD[:5], ev.CallInDoubt("1.1", "pay", "key")]) == {}


def test_a_prompt_that_the_journal_does_not_lead_to_is_seen() -> None:
    verdict = Verdict()
    (first, second) = prompts(GOOD).values()
    count_prompts(verdict, {"x": [(1, first, 0), (2, second, 0), (2, "0" * 16, 0)]}, {"x": stored(GOOD)})
    assert verdict.broken == {}
    count_prompts(verdict, {"x": [(1, first, 0), (2, "0" * 16, 0)]}, {"x": stored(GOOD)})
    assert verdict.broken == {"strayed": ["x step 2"]}
