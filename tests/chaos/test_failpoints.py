"""A worker that dies at any boundary of the journal: what happens next is the table below, for each effect class."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .checker import Verdict, examine
from .conftest import Make
from .figures import record
from .load import Posted, decide, post_all
from .processes import Process, eventually
from .world import IS_FULL, World

UNSENT = ("behind run.claimed", "before run.started", "before step.decided", "before call.intended")
"""The tool has not been reached."""
OPEN_UNSENT = ("behind call.intended", "inside, not sent")
"""The intent is stored, the tool was not sent; nobody can tell that from outside."""
OPEN_SENT = ("inside, sent", "before call.finished")
"""The tool was sent and its result is not stored."""
STORED = ("behind call.finished", "before answer", "before run.succeeded", "behind run.succeeded")
"""The result is stored."""
PLACES = UNSENT + OPEN_UNSENT + OPEN_SENT + STORED
TOOLS = ("look", "post", "pay", "wire")
NOT_REACHED = {("look", "before call.intended"), ("look", "behind call.intended")}
"""A `read` call has no intent."""
MOST_WORKERS = 12
LANES = 3
PATHS = os.pathsep.join(filter(None, (str(Path(__file__).parent / "site"), os.environ.get("PYTHONPATH"))))
"""Makes every Python process below a worker install its failpoints."""


@dataclass(frozen=True)
class Outcome:
    """How often a tool was sent, and whether a person was asked."""

    sent: int
    asked: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell of the table: a tool, a place to die at, and how often."""

    tool: str
    place: str
    deaths: int

    @property
    def expected(self) -> Outcome:
        """What the table in docs/guarantees.md says."""
        if self.tool == "pay":
            return Outcome(0 if self.place in OPEN_UNSENT else 1, asked=self.place in OPEN_UNSENT + OPEN_SENT)
        if self.place in OPEN_SENT and self.tool in ("look", "post"):
            return Outcome(1 + self.deaths)
        return Outcome(1)

    @property
    def most_deaths(self) -> int:
        """How often the place can be passed: a call that waits for a person or is found done is not made again."""
        is_left = self.place in ("behind call.finished", "behind run.succeeded") or (
            self.tool == "pay" and self.place in OPEN_UNSENT + OPEN_SENT
        )
        return 1 if is_left or (self.tool == "wire" and self.place == "inside, sent") else self.deaths

    def is_met(self, found: Outcome) -> bool:
        """Say whether this is what the table says; a `read` call is free to be sent more often."""
        if self.tool == "look":
            return found.sent >= self.expected.sent and not found.asked
        return found == self.expected


def cells() -> list[Cell]:
    """Return every cell; at the short size with a second death only where a `once` call is open."""
    every = [Cell(tool, place, deaths) for tool in TOOLS for place in PLACES for deaths in (1, 2)]
    return [
        each
        for each in every
        if (each.tool, each.place) not in NOT_REACHED
        and (IS_FULL or each.deaths == 1 or (each.tool in ("pay", "wire") and each.place in OPEN_SENT))
    ]


def test_a_death_at_any_boundary_leads_to_what_the_table_says(make_world: Make) -> None:
    worlds = [make_world(f"lane{number}", delay_s=0.03) for number in range(LANES)]
    with ThreadPoolExecutor(LANES) as lanes:
        found = list(lanes.map(play_all, worlds, (cells()[number::LANES] for number in range(LANES))))
    wrong = [each for lane in found for each in lane[0]]
    broken = [lane[1].broken for lane in found if lane[1].broken]
    record("T02 failpoints", cells=len(cells()), as_published=len(cells()) - len(wrong), broken=broken)
    assert wrong == []
    assert broken == []
    assert sum(lane[1].statuses["succeeded"] for lane in found) == len(cells())


def play_all(world: World, some: list[Cell]) -> tuple[list[str], Verdict]:
    """Play cells one after another; return what is not as published, and what the checker says."""
    world.start_api()
    accepted: dict[str, str] = {}
    wrong = []
    for cell in some:
        found, died = play(world, cell, accepted)
        if died != cell.most_deaths or not cell.is_met(found):
            wrong.append(f"{cell}: {found}, expected {cell.expected}, died {died} times")
    return wrong, examine(world, accepted)


def play(world: World, cell: Cell, accepted: dict[str, str]) -> tuple[Outcome, int]:
    """Let workers die at one place until it is passed alive; return what came of it and how often they died."""
    tokens = world.folder / f"deaths-{len(accepted)}"
    tokens.mkdir()
    for number in range(cell.deaths):
        (tokens / str(number)).touch()
    posted = Posted()
    asyncio.run(post_all(world, {f"cell{len(accepted)}": cell.tool}, posted=posted))
    (run_id,) = posted.accepted
    accepted |= posted.accepted
    asked = False
    worker = start(world, cell.place, tokens)
    for _ in range(MOST_WORKERS):
        status = eventually(lambda worker=worker: state_of(world, run_id, worker), 30, 0.02, str(cell))  # type: ignore[misc]
        if status == "dead":
            world.pass_lease(run_id)
            worker = start(world, cell.place, tokens)
        elif status == "waiting":
            asked |= decide(world) > 0
            eventually(lambda: state_of(world, run_id, worker) != "waiting", 30, 0.02, "it goes on")  # noqa: B023
        else:
            break
    eventually(lambda: len(list(tokens.iterdir())) <= cell.deaths - cell.most_deaths, 10, 0.02, f"{cell}: a death")
    worker.kill()
    sent = sum(each["run"] == run_id for each in world.sent())
    return Outcome(sent, asked), cell.deaths - len(list(tokens.iterdir()))


def start(world: World, place: str, tokens: Path) -> Process:
    """Start a worker that dies at a place."""
    return world.start_worker(CHAOS_DIE=place, CHAOS_DEATHS=tokens, PYTHONPATH=PATHS)


def state_of(world: World, run_id: str, worker: Process) -> str | None:
    """Return `dead`, `waiting` or the final status, once one of them is reached."""
    if not worker.is_alive:
        return "dead"
    status = str(world.http.get(f"/v1/runs/{run_id}").json()["status"])
    return status if status not in ("queued", "running") else None
