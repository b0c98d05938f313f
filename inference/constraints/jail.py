"""A killable child that compiles under limits of processor time and memory, for what users or servers hand us.

The child runs this very file with nothing of Loopwright imported: a pickled request comes in on standard input, a
pickled reply leaves on standard output. No request can hang or swell the process that asks.
"""

import pickle
import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

CPU_S = 1
"""Seconds of processor time."""

WALL_S = 6.0
"""Seconds until the child is killed, whatever it has used: a busy machine gets some patience."""

MEMORY_BYTES = 1 << 30
TRIAL_TOKENS = 300
"""Bytes decoded at random to see that a grammar not only compiles but also runs."""

SENTINEL = b"\x01"
"""Every index begins with this byte, which no JSON text holds: `outlines_core` builds the automaton of a search as
well, and without a first byte that occurs nowhere else its states multiply (200 characters: 12 s; with it: 35 ms)."""


class JailError(Exception):
    """The child failed or was killed.

    Attributes:
        at: How many parts of the request were done before.
    """

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.at = at


def run(task: str, *arguments: Any) -> Any:
    """Run one of `TASKS` in a child and return its result.

    Raises:
        JailError: With a sentence that says what went wrong.
    """
    request = pickle.dumps((task, arguments))
    command = [sys.executable, "-I", __file__]
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=WALL_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise JailError(f"it takes more than {WALL_S:g} s", (exc.stderr or b"").count(b"\n")) from exc
    if done.returncode == 0 and done.stdout:
        return pickle.loads(done.stdout)  # noqa: S301 - written by our own child
    lines = done.stderr.decode(errors="replace").split("\n")
    if done.returncode < 0 or "memory allocation" in lines[-1]:
        reason = f"it takes more than {CPU_S} s of processor time or {MEMORY_BYTES >> 20} MiB of memory"
    else:
        reason = lines[-1][:200] or f"the compiler ended with {done.returncode}"
    raise JailError(reason, len(lines) - 1)


def build_index(regex: str, tokens: tuple[bytes, ...], eos_id: int) -> Any:
    """Return the `outlines_core` index of a regular expression; its first token is `len(tokens)`, the sentinel."""
    import outlines_core

    ids: dict[bytes, list[int]] = {}
    for id_, token in enumerate((*tokens, SENTINEL)):
        if token and id_ != eos_id:
            ids.setdefault(token, []).append(id_)
    return outlines_core.Index(f"\\x01(?:{regex})", outlines_core.Vocabulary(eos_id, ids))


def try_grammars(grammars: Sequence[str]) -> None:
    """Compile grammars with `llguidance` and decode a random text with each; raises ValueError with the reason.

    One line on standard error marks each grammar done.
    """
    import llguidance

    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()))
    for grammar in grammars:
        matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0)
        chance = random.Random(0)
        for _ in range(TRIAL_TOKENS):
            if matcher.is_error() or matcher.is_stopped():
                break
            mask = int.from_bytes(matcher.compute_bitmask(), "little")
            allowed = [code for code in range(256) if mask >> code & 1]
            if not allowed or not matcher.consume_token(chance.choice(allowed)):
                break
        if matcher.is_error():
            raise ValueError(_first_reason(matcher.get_error()))
        print(file=sys.stderr, flush=True)


def _first_reason(message: str) -> str:
    """Return the head of an engine's message, without the expression that it quotes."""
    return re.split(r":\s+\(", message.partition("\n")[0])[0].rpartition("): ")[2][:160]


class _Bytes:
    """A tokenizer of single bytes."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([code]) for code in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


TASKS: dict[str, Callable[..., Any]] = {"build_index": build_index, "try_grammars": try_grammars}


def main() -> None:
    """Answer one request; the child's side."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task, arguments = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - written by our own parent
    try:
        reply = TASKS[task](*arguments)
    except Exception as exc:
        print(str(exc) or type(exc).__name__, end="", file=sys.stderr)
        sys.exit(1)
    sys.stdout.buffer.write(pickle.dumps(reply))


if __name__ == "__main__":
    main()
