"""A killable child that compiles under limits of processor time and memory, for what users or servers hand us.

The child runs this very file with nothing of Loopwright imported: a pickled request comes in on standard input, a
pickled reply leaves on standard output. No request can hang or swell the process that asks.
"""

import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

CPU_S = 2
"""Seconds of processor time."""

WALL_S = 6.0
"""Seconds until the child is killed, whatever it has used: a busy machine gets some patience."""

MEMORY_BYTES = 1 << 30

SENTINEL = b"\x01"
"""Every index begins with this byte, which no JSON text holds: `outlines_core` builds the automaton of a search as
well, and without a first byte that occurs nowhere else its states multiply (200 characters: 12 s; with it: 35 ms)."""


def run(task: str, *arguments: Any) -> tuple[bool, Any]:
    """Run one of `TASKS` in a child.

    Returns:
        True and the task's result, or False and a sentence that says what went wrong.
    """
    request = pickle.dumps((task, arguments))
    command = [sys.executable, "-I", __file__]
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=WALL_S, check=False)
    except subprocess.TimeoutExpired:
        return False, f"it takes more than {WALL_S:g} s"
    if done.returncode == 0 and done.stdout:
        return True, pickle.loads(done.stdout)  # noqa: S301 - written by our own child
    if done.returncode < 0:
        return False, f"it takes more than {CPU_S} s of processor time or {MEMORY_BYTES >> 20} MiB of memory"
    reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return False, reason[:300] or f"the compiler ended with {done.returncode}"


def build_index(regex: str, tokens: tuple[bytes, ...], eos_id: int) -> Any:
    """Return the `outlines_core` index of a regular expression; its first token is `len(tokens)`, the sentinel."""
    import outlines_core  # type: ignore[import-untyped]

    ids: dict[bytes, list[int]] = {}
    for id_, token in enumerate((*tokens, SENTINEL)):
        if token and id_ != eos_id:
            ids.setdefault(token, []).append(id_)
    vocabulary = outlines_core.Vocabulary(eos_id, ids)
    return outlines_core.Index(f"\\x01(?:{regex})", vocabulary)


def check_regex(regex: str) -> None:
    """Build the automaton of a regular expression over single bytes, to see whether it stays small."""
    build_index(regex, tuple(bytes([code]) for code in range(256)), 256)


def check_grammar(grammar: str) -> None:
    """Have `llguidance` read a grammar; raises ValueError with its reason."""
    import llguidance

    failed, notes = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
    if failed:
        raise ValueError(notes[0].partition("\n")[0])


TASKS: dict[str, Callable[..., Any]] = {
    "build_index": build_index,
    "check_regex": check_regex,
    "check_grammar": check_grammar,
}


def main() -> None:
    """Answer one request; the child's side."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task, arguments = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - written by our own parent
    try:
        reply = TASKS[task](*arguments)
    except Exception as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")
    sys.stdout.buffer.write(pickle.dumps(reply))


if __name__ == "__main__":
    main()
