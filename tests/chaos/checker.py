"""Count from outside what an attack left: the journals, what tools did, and what the model server was asked.

Nothing here trusts a worker's word: journals are read event by event and folded anew, effects are counted in the
sink, and the prompts that the model server saw are compared with those that the journals lead to.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopwright.errors import JournalCorrupt, RunNotFound
from loopwright.inference.wire import MessageEncoder
from loopwright.memory.journal.contract import Stored
from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner import events as ev
from loopwright.planner.state import RunState, apply, fold, state_digest

from .world import World

Journals = dict[str, list[Stored]]


@dataclass
class Verdict:
    """What an attack left. Everything but `runs`, `statuses`, `resent_keyed` and `in_doubt` must be empty.

    Attributes:
        runs: How many runs were acknowledged.
        statuses: How they ended, `status(reason)`.
        lost: Acknowledged, but without a journal.
        stuck: Neither final nor waiting for a person.
        torn: Journals that cannot be folded, have a gap, or more or less than one final event.
        resent_once: Calls of `once` tools that were sent more than once.
        unjournaled: Calls with effects that were sent without an intent in the journal.
        unlisted: `once` calls that were sent, have no result, and are not said to be in doubt.
        strayed: Decisions in a journal that the model server was never asked for with the prompt that leads to them.
        in_doubt: `once` calls whose outcome was unknown.
        resent_keyed: `keyed` calls that were sent again, with the same key.
    """

    runs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    resent_once: list[str] = field(default_factory=list)
    unjournaled: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)
    in_doubt: int = 0
    resent_keyed: int = 0

    @property
    def broken(self) -> dict[str, list[str]]:
        """The promises that do not hold, with the first cases of each."""
        names = ("lost", "stuck", "torn", "resent_once", "unjournaled", "unlisted", "strayed")
        return {name: found[:5] for name in names if (found := getattr(self, name))}


def read_journals(url: str, run_ids: Iterable[str]) -> Journals:
    """Return the journal of each run that has one."""

    async def read() -> Journals:
        journal = RedisJournal(url, durability="none")
        found: Journals = {}
        for run_id in run_ids:
            try:
                found[run_id] = await journal.read(run_id)
            except RunNotFound:
                continue
        await journal.aclose()
        return found

    return asyncio.run(read())


def examine(world: World, accepted: Mapping[str, str], *, may_forget: bool = False) -> Verdict:
    """Return what is left of the accepted runs.

    Args:
        world: Where they ran.
        accepted: Run id to the tag in its task.
        may_forget: Whether Redis may have lost its last writes, so that an epoch may be issued twice and an effect
            may have been sent behind an intent that is gone.
    """
    journals = read_journals(world.redis_url, accepted)
    verdict = Verdict(len(accepted), lost=[run_id for run_id in accepted if run_id not in journals])
    states: dict[str, RunState] = {}
    for run_id, stored in journals.items():
        problem = torn(stored, may_forget=may_forget)
        if problem:
            verdict.torn.append(f"{run_id}: {problem}")
            continue
        states[run_id] = state = fold(each.event for each in stored)
        verdict.statuses[f"{state.status}({state.reason})" if state.reason else state.status] += 1
        if not state.is_final and state.status != "waiting":
            verdict.stuck.append(f"{run_id} {accepted[run_id]}: {[each.event.type for each in stored[-4:]]}")
    count_effects(verdict, world.sent(), journals, may_forget=may_forget)
    count_prompts(verdict, world.model.seen(), {accepted[each]: journals[each] for each in states})
    return verdict


def torn(stored: list[Stored], *, may_forget: bool = False) -> str | None:
    """Return what is wrong with a journal: order, gaps, endings, or a digest that differs when it is read again."""
    order = [tuple(map(int, each.id.split("-"))) for each in stored]
    if order != sorted(set(order)):
        return "its events are out of order"
    events = [each.event for each in stored]
    try:
        state = fold(events)
        again = fold(ev.decode(ev.encode(each)) for each in events)
    except JournalCorrupt as exc:
        return str(exc)
    if state_digest(state) != state_digest(again):
        return "read again, it folds to another state"
    epochs = [each.epoch for each in events if isinstance(each, ev.RunClaimed)]
    if not may_forget and epochs != list(range(1, len(epochs) + 1)):
        return f"its epochs are {epochs}"
    steps = [each.step for each in events if isinstance(each, ev.StepDecided | ev.StepRejected)]
    if steps != list(range(1, len(steps) + 1)):
        return f"its steps are {steps}"
    finished = Counter(each.call_id for each in events if isinstance(each, ev.CallFinished))
    if twice := [call for call, times in finished.items() if times > 1]:
        return f"calls {twice} finished more than once"
    ends = sum(each.type in FINAL_TYPES for each in events)
    return f"it has {ends} final events" if ends > 1 or state.is_final != (ends == 1) else None


FINAL_TYPES = frozenset({"run.succeeded", "run.failed", "run.cancelled", "run.expired"})


def count_effects(
    verdict: Verdict, sent: list[dict[str, Any]], journals: Journals, *, may_forget: bool = False
) -> None:
    """Hold what the tools did against what the journals say."""
    times: dict[str, Counter[tuple[str, str]]] = {"once": Counter(), "keyed": Counter(), "read": Counter()}
    keys: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for each in sent:
        times[each["effect"]][each["run"], each["call"]] += 1
        keys[each["run"], each["call"]].add(each["key"])
    verdict.resent_once = [f"{run} {call} x{n}" for (run, call), n in times["once"].items() if n > 1]
    verdict.resent_keyed = sum(n - 1 for n in times["keyed"].values())
    verdict.torn += [f"{call} was sent under {len(found)} keys" for call, found in keys.items() if len(found) > 1]
    intended, finished, doubted = (marked(journals, kind) for kind in ("intended", "finished", "in_doubt"))
    verdict.in_doubt = len(doubted)
    if may_forget:
        return
    effects = [*times["once"], *times["keyed"]]
    verdict.unjournaled = [f"{run} {call}" for run, call in effects if run in journals and (run, call) not in intended]
    verdict.unlisted = [
        f"{run} {call}"
        for run, call in times["once"]
        if run in journals and (run, call) not in finished and (run, call) not in doubted
    ]


def marked(journals: Journals, what: str) -> set[tuple[str, str]]:
    """Return the calls (run, call) that have an event `call.<what>`."""
    return {
        (run_id, event.call_id)
        for run_id, stored in journals.items()
        for event in (each.event for each in stored)
        if isinstance(event, ev.CallIntended | ev.CallFinished | ev.CallInDoubt) and event.type == f"call.{what}"
    }


def count_prompts(verdict: Verdict, seen: Mapping[str, list[tuple[int, str, int]]], journals: Journals) -> None:
    """Hold the prompts that the model server saw against those that the journals lead to.

    A worker that is killed may have asked with a result that it did not live to store; that decision is lost with it.
    So each decision in a journal must have been asked for with its prompt, and others may have been asked for as well.
    """
    for tag, stored in journals.items():
        asked = {(step, digest) for step, digest, _ in seen.get(tag, ())}
        expected = prompts(each.event for each in stored)
        verdict.strayed += [f"{tag} step {step}" for step, digest in expected.items() if (step, digest) not in asked]


def prompts(events: Iterable[ev.Event]) -> dict[int, str]:
    """Return the hash of the prompt of each step that was decided, as the model server takes it."""
    encoder = MessageEncoder()
    found: dict[int, str] = {}
    state: RunState | None = None
    for event in events:
        if isinstance(event, ev.StepDecided) and state is not None:
            found[event.step] = hashlib.sha256(encoder.encode(state.messages)).hexdigest()[:16]
        state = fold([event]) if state is None else apply(state, event)
    return found
