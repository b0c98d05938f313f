"""Self-consistency: ask the model several times and follow the majority (Wang et al., arXiv 2203.11171)."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import DecisionInvalid
from ..inference.endpoint import Usage
from .decision import read_decision
from .next import Ask
from .together import together

if TYPE_CHECKING:
    from .loop import Reply, RunLoop


async def vote(loop: "RunLoop", move: Ask, samples: int) -> "Reply":
    """Return the first reply of the most frequent decision, with the tokens of all samples.

    Decisions are the same when their calls, or their answers, are the same; thoughts do not count. Replies that
    are no decision do not vote; when none is, the first reply is returned and rejected as usual.
    """
    seeds = [None if loop.sampling.seed is None else loop.sampling.seed + n for n in range(samples)]
    replies = await together([loop.complete(move, replace(loop.sampling, seed=seed), early=False) for seed in seeds])
    ballots = [_ballot(reply.text, move) for reply in replies]
    counts = Counter(ballot for ballot in ballots if ballot is not None)
    chosen = ballots.index(counts.most_common(1)[0][0]) if counts else 0
    usage = sum((reply.usage for reply in replies if reply.usage), Usage())
    return replace(replies[chosen], usage=usage)


def _ballot(text: str, move: Ask) -> tuple[str, ...] | None:
    try:
        decision = read_decision(text, 1, may_call=move.may_call)
    except DecisionInvalid:
        return None
    if decision.answer is not None:
        return ("answer", decision.answer)
    return ("calls", *sorted(f"{call.tool}{call.arguments}" for call in decision.calls))
