"""What the fold makes of single events: lost workers, outages, conversations, pauses, edited calls."""

import pytest

from loopwright.errors import JournalCorrupt
from loopwright.planner import events as ev
from loopwright.planner.budget import budget_of, reached, remaining, seconds_left
from loopwright.planner.state import RunState, apply, fold

CREATED = ev.RunCreated("r", "local", "tester", "h", "t", {"deadline_s": 100}, created_ms=1_000)
STARTED = ev.RunStarted("head")
DECIDED = ev.StepDecided(1, "step", (ev.ToolCall("1.1", "pay", '{"n":1}'), ev.ToolCall("1.2", "look", "{}")))


def claimed(epoch: int) -> ev.RunClaimed:
    return ev.RunClaimed(epoch, "worker")


def after(*events: ev.Event) -> RunState:
    return fold((CREATED, *events))


# --- lost workers --------------------------------------------------------------------------------------------


def test_every_worker_that_dies_of_a_run_is_counted() -> None:
    assert [after(*[claimed(each) for each in range(1, 1 + n)]).losses for n in (1, 2, 3)] == [0, 1, 2]
    assert after(claimed(1), claimed(2)).attempts == 2


@pytest.mark.parametrize(
    "sign",
    [
        ev.StepRejected(1, "x", "bad"),
        ev.TurnTaken("plan", "p", "x"),
        ev.RunWaiting("tool"),
    ],
)
def test_progress_begins_the_count_anew(sign: ev.Event) -> None:
    state = after(claimed(1), STARTED, claimed(2), claimed(3))
    assert state.losses == 2
    assert apply(state, sign).losses == 0


def test_a_finished_call_is_progress() -> None:
    state = after(claimed(1), STARTED, DECIDED, claimed(2), claimed(3))
    assert (state.losses, apply(state, ev.CallFinished("1.1", "pay", "ok")).losses) == (2, 0)


def test_a_run_that_was_given_back_lost_nobody() -> None:
    state = after(claimed(1), ev.RunReleased("drain"), claimed(2), ev.RunReleased("agent_missing"), claimed(3))
    assert (state.losses, state.is_held) == (0, True)


def test_a_worker_that_dies_before_it_resumes_a_waiting_run_is_counted_too() -> None:
    waiting = (claimed(1), STARTED, DECIDED, ev.RunWaiting("approval", ("1.1",)))
    assert after(*waiting, claimed(2)).losses == 0
    assert after(*waiting, claimed(2), claimed(3), claimed(4)).losses == 2
    assert after(*waiting, claimed(2), ev.RunReleased("answered"), claimed(3)).losses == 0


# --- outages -------------------------------------------------------------------------------------------------


def test_outages_are_counted_in_a_row_from_the_first_ones_moment() -> None:
    away = [
        event
        for epoch, at_ms in ((1, 5_000), (2, 6_000), (3, 9_000))
        for event in (claimed(epoch), ev.RunReleased("model_unavailable", "refused", at_ms))
    ]
    state = after(*away)
    assert (state.outages, state.outage_ms, state.losses, state.is_held) == (3, 5_000, 0, False)
    state = apply(apply(apply(state, claimed(4)), STARTED), DECIDED)
    assert state.outages == 0
    assert apply(state, ev.RunReleased("model_unavailable", "", 20_000)).outage_ms == 20_000


def test_giving_a_run_back_for_another_reason_is_no_outage() -> None:
    assert after(claimed(1), ev.RunReleased("drain", "", 7)).outages == 0


# --- conversations -------------------------------------------------------------------------------------------


def test_what_was_said_before_stands_between_head_and_task() -> None:
    said = (ev.Said("user", "Who wrote it?"), ev.Said("assistant", "Ada."))
    state = after(claimed(1), ev.RunStarted("head", said))
    assert [(each.role, each.content) for each in state.messages] == [
        ("system", "head"), ("user", "Who wrote it?"), ("assistant", "Ada."), ("user", "t"),
    ]  # fmt: skip
    assert state.new_chars == len("headWho wrote it?Ada.t")
    assert ev.decode(ev.encode(ev.RunStarted("head", said))) == ev.RunStarted("head", said)


def test_events_of_journals_without_the_newer_fields_still_decode() -> None:
    old = b'{"v":1,"run_id":"r","tenant":"t","agent":"a","agent_hash":"h","task":"x","type":"run.created"}'
    assert ev.decode(old) == ev.RunCreated("r", "t", "a", "h", "x")
    assert ev.decode(b'{"v":1,"head":"h","type":"run.started"}') == ev.RunStarted("h")
    assert ev.decode(b'{"v":1,"reason":"tool","type":"run.waiting"}') == ev.RunWaiting("tool")
    assert ev.decode(b'{"v":1,"type":"run.resumed"}') == ev.RunResumed()
    assert ev.decode(b'{"v":1,"call_id":"1.1","approved":true,"type":"call.reviewed"}') == ev.CallReviewed("1.1", True)


# --- edited arguments ----------------------------------------------------------------------------------------


def test_edited_arguments_replace_those_of_the_call_and_no_other() -> None:
    state = after(claimed(1), STARTED, DECIDED, ev.CallReviewed("1.1", True, "ada", arguments='{"n":2}'))
    assert [each.call.arguments for each in state.open] == ['{"n":2}', "{}"]
    assert state.open[0].call == ev.ToolCall("1.1", "pay", '{"n":2}')


def test_a_review_of_a_call_that_is_not_open_is_no_journal() -> None:
    with pytest.raises(JournalCorrupt):
        after(claimed(1), STARTED, DECIDED, ev.CallReviewed("9.9", True, arguments="{}"))


# --- pauses --------------------------------------------------------------------------------------------------

BUDGET = budget_of(CREATED)


@pytest.mark.parametrize(("reason", "paused"), [("approval", 50_000), ("in_doubt", 50_000), ("tool", 0), ("timer", 0)])
def test_only_waiting_for_people_stops_the_clock_of_the_deadline(reason: str, paused: int) -> None:
    waiting = ev.RunWaiting(reason, ("1.1",), None, 11_000)  # type: ignore[arg-type]
    state = after(claimed(1), STARTED, DECIDED, waiting, claimed(2), ev.RunResumed(61_000))
    assert (state.paused_ms, state.paused_since_ms) == (paused, 0)
    assert seconds_left(state, BUDGET, 61_000) == (101_000 + paused - 61_000) / 1000
    assert remaining(state, BUDGET, 61_000)["deadline_s"] == seconds_left(state, BUDGET, 61_000)
    assert (reached(state, BUDGET, 95_000) == "deadline") == (paused == 0)


def test_pauses_add_up_and_a_clock_that_runs_back_takes_nothing_away() -> None:
    def pause(start: int, end: int) -> tuple[ev.Event, ...]:
        return ev.RunWaiting("approval", ("1.1",), None, start), ev.RunResumed(end)

    state = after(claimed(1), STARTED, DECIDED, *pause(2_000, 3_000), *pause(4_000, 6_000), *pause(9_000, 8_000))
    assert state.paused_ms == 3_000


def test_a_doubt_before_an_approval_does_not_keep_it_from_expiring() -> None:
    state = after(
        claimed(1), STARTED, DECIDED, ev.RunWaiting("in_doubt", ("1.2",), None, 2_000), ev.RunResumed(3_000),
        ev.RunWaiting("approval", ("1.1",), 9_000, 4_000),
    )  # fmt: skip
    assert (state.asked_ms, state.expires_ms) == (2_000, 9_000)
