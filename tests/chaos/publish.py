"""Write the table of docs/guarantees.md anew from the figures that the full size measured.

python -m tests.chaos.publish
"""

import json
from pathlib import Path
from typing import Any

from .figures import FILE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
RIVAL, SOAK = "T01 the same storm on plain Celery", "T16 soak"

Promise = tuple[str, str, str, tuple[str, ...], tuple[str, ...]]
PROMISES: tuple[Promise, ...] = (
    (
        "G1", "An acknowledged run reaches exactly one final state, whatever happens to workers.",
        "Redis keeps what it acknowledged (G5); at least one worker lives.",
        ("T01", "T05", "T06", "T10", "T13", "T14"), (),
    ),
    (
        "G2", "One writer per run: a worker whose lease was taken over appends nothing.",
        "Redis decides: epoch, random token and server time are compared in the script that appends.",
        ("T03", "T04"), ("memory/test_journal_contract.py",),
    ),
    (
        "G3", "A journaled step is never executed again; a journal read anew leads to the same state and prompts.",
        "The journal is intact.",
        ("T02", "T01"), ("memory/test_journal_model.py",),
    ),
    (
        "G4",
        "Tools: `read` may be repeated; `keyed` is sent at least once, always with the same key; `once` is sent at "
        "most once, and when its outcome is unknown the run says so and waits, or asks the tool's `reconcile`. "
        "[Table](#a-death-at-any-boundary).",
        "The author declares the effect (`once` when nothing is declared); `reconcile` answers for good: what it calls "
        "`not_sent` will not happen later.",
        ("T02", "T01", "T03"), ("planner/test_recovery.py",),
    ),
    (
        "G5",
        "`always`: nothing acknowledged is lost when Redis is killed. `replicated`: nor when a replica that had it is "
        "promoted. `everysec`: only what is younger than two seconds may be lost. Each 202 names its mode.",
        "Redis is set for the mode: checked at start, refused otherwise; the disk keeps what it synced.",
        ("T07", "T08"), ("memory/test_redis_settings.py", "memory/test_redis_outages.py"),
    ),
    (
        "G6", "Same `Idempotency-Key` and body: the same run, for 24 hours. Another body: 409.",
        "-", ("T17",), ("memory/test_journal_create.py",),
    ),
    (
        "G7", "Webhooks arrive at least once, under one id and with one body, in order per run.",
        "The receiver answers 2xx within 76 hours.", ("T31",), (),
    ),
    (
        "G8", "Behind an acknowledged cancellation no call with effects is sent; the model is left within 2 s.",
        "The order is that of the journal: a call whose intent was stored before is still sent.", ("T18",), (),
    ),
    (
        "G9", "What reaches a tool satisfies its full schema, whatever the model server did.",
        "-", (), ("inference/test_fault_mix.py", "constraints/test_validate.py", "tools/test_validation.py"),
    ),
    (
        "G10", "No request of one tenant can read, change or starve another's; foreign things are 404.",
        "Each tenant has keys of its own.", (), ("api",),
    ),
)  # fmt: skip


def main() -> None:
    """Replace what stands between the marks of the page."""
    figures: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
    page = between(PAGE.read_text(), "promises", table({name: each for name, each in figures.items() if name != RIVAL}))
    for mark, test in (("rival", RIVAL), ("soak", SOAK)):
        page = between(page, mark, f"Last measured: {in_words(figures[test])}.\n" if test in figures else "")
    PAGE.write_text(page)


def between(page: str, name: str, text: str) -> str:
    """Return the page with another text between the marks of that name."""
    begin, end = f"<!-- {name}: written by tests/chaos/publish.py -->\n", f"<!-- end of {name} -->\n"
    head, rest = page.split(begin)
    return head + begin + text + end + rest.split(end)[1]


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return one row per promise; the figures of a test stand in the first row that names it."""
    told: set[str] = set()
    lines = ["| | promise | rests on | tests | last measured |", "|---|---|---|---|---|"]
    for name, promise, assumption, tests, files in PROMISES:
        known = {test: measured for test, measured in figures.items() if test.split()[0] in tests and test not in told}
        told |= known.keys()
        shown = "<br>".join(f"*{test}*: {in_words(measured)}" for test, measured in known.items())
        where = ", ".join((*tests, *(f"[{file}](../tests/{file})" for file in files)))
        lines.append(
            f"| **{name}** | {promise} | {assumption} | {where} | {shown or ('above' if tests else ELSEWHERE)} |"
        )
    return "\n".join(lines) + "\n"


def in_words(measured: dict[str, Any]) -> str:
    """Return figures as text: `runs 2000, kills 20, …`; what is broken last."""
    parts = [f"{name.replace('_', ' ')} {_value(value)}" for name, value in measured.items() if name not in HIDDEN]
    broken = measured.get("broken")
    if broken is not None:
        parts.append("**nothing broken**" if not broken else f"**broken: {', '.join(broken)}**")
    return ", ".join(parts)


HIDDEN = ("when", "broken")
ELSEWHERE = "passes with the suite of every commit"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " + ".join(f"{count:,} x {name}" for name, count in value.items())
    if isinstance(value, list):
        return " → ".join("/".join(map(str, each)) if isinstance(each, list) else _value(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
