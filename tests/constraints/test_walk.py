"""The walk over a decision's segments, and the matchers that decode them."""

import json
import random
import time
from decimal import Decimal

import pytest

from loopwright.errors import Misuse
from loopwright.inference.constraints import compiler
from loopwright.inference.constraints.decision import DecisionConstraint, ToolShape
from loopwright.inference.constraints.matchers import GrammarMatcher, IndexMatcher, Matcher
from loopwright.inference.constraints.sampling import random_decision
from loopwright.inference.constraints.shapes import Fixed, Integer, Text
from loopwright.inference.constraints.vocabulary import Vocabulary
from loopwright.inference.constraints.walk import Choice, Forced, Free, Walk, replay

from .support import constraint_over, problems_of, vocabulary

VOCABULARY = vocabulary()


def weather() -> DecisionConstraint:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1},
            "unit": {"enum": ["c", "f"]},
        },
        "required": ["city"],
    }
    tools = (ToolShape("weather", json.dumps(schema)), ToolShape("web", '{"type":"object","properties":{}}'))
    return DecisionConstraint(tools, '{"type":"string"}', max_calls=2)


def decode(matcher: Matcher, rng: random.Random) -> str:
    text = b""
    while not matcher.is_finished():
        forced = matcher.forced_tokens()
        token = forced[0] if forced else rng.choice(matcher.mask().nonzero()[0].tolist())
        assert token != VOCABULARY.eos_id
        matcher.advance(token)
        text += VOCABULARY.tokens[token]
    return text.decode()


def walk_at_random(constraint: DecisionConstraint, rng: random.Random) -> str:
    walk = Walk(constraint)
    while (segment := walk.segment) is not None:
        match segment:
            case Forced(text):
                walk.take(text)
            case Choice() | Free():
                walk.take(decode(compiler.matcher(segment, VOCABULARY), rng))
    return walk.text


def test_the_model_is_asked_only_where_it_has_a_choice() -> None:
    text = '{"thought":"rain?","calls":[{"tool":"weather","arguments":{"city":"Ulm","days":3}}]}'
    assert [(type(segment).__name__, piece) for segment, piece in replay(weather(), text)] == [
        ("Forced", '{"thought":"'),
        ("Free", 'rain?"'),
        ("Forced", ',"'),
        ("Choice", 'calls":[{"tool":"'),
        ("Choice", 'weather"'),
        ("Forced", ',"arguments":{"city":"'),
        ("Free", 'Ulm"'),
        ("Choice", ',"days":'),
        ("Free", "3}"),
        ("Forced", "}"),
        ("Choice", "]}"),
    ]


def test_a_choice_names_its_place_and_its_options() -> None:
    text = '{"thought":"","calls":[{"tool":"weather","arguments":{"city":"","unit":"f"}}]}'
    choices = [segment for segment, _ in replay(weather(), text) if isinstance(segment, Choice)]
    assert [(choice.place, choice.options) for choice in choices] == [
        ("action", ('calls":[{"tool":"', 'answer":')),
        ("tool", ('weather"', 'web"')),
        ("arguments", (',"days":', ',"unit":', "}")),
        ("arguments.unit", ('c"', 'f"')),
        ("calls", (',{"tool":"', "]}")),
    ]


def test_a_random_decision_is_cut_into_segments_without_loss() -> None:
    rng = random.Random(7)
    constraint = constraint_over(20)
    for _ in range(400):
        text = random_decision(constraint, rng)
        assert "".join(piece for _, piece in replay(constraint, text)) == text


def test_a_random_walk_with_matchers_is_a_valid_decision() -> None:
    rng = random.Random(8)
    for first in range(0, 20, 5):
        constraint = constraint_over(10, first=first)
        for _ in range(25):
            text = walk_at_random(constraint, rng)
            assert problems_of(text, constraint) == [], text


def test_matchers_accept_the_text_of_random_decisions() -> None:
    rng = random.Random(9)
    constraint = constraint_over(20)
    for _ in range(40):
        for segment, piece in replay(constraint, random_decision(constraint, rng)):
            if isinstance(segment, Forced):
                continue
            matcher = compiler.matcher(segment, VOCABULARY)
            left = piece.encode()
            while left:
                fitting = [id_ for id_ in matcher.mask().nonzero()[0] if left.startswith(VOCABULARY.tokens[id_])]
                assert fitting, (segment, piece, left)
                matcher.advance(int(fitting[0]))
                left = left[len(VOCABULARY.tokens[fitting[0]]) :]
            assert matcher.is_finished(), (segment, piece)


@pytest.mark.parametrize(
    ("taken", "problem"),
    [("[", 'expected \'{"thought":"\''), ('{"thought":"', None)],
)
def test_a_walk_refuses_text_off_the_way(taken: str, problem: str | None) -> None:
    walk = Walk(weather())
    if problem is None:
        walk.take(taken)
        assert isinstance(walk.segment, Free)
        return
    with pytest.raises(ValueError, match="expected"):
        walk.take(taken)


@pytest.mark.parametrize(
    "text",
    [
        '{"thought":"x","calls":[]}',
        '{"thought":"x","calls":[{"tool":"nope","arguments":{}}]}',
        '{"thought":"x","answer":"a"}}',
        '{"thought":"x","calls":[{"tool":"weather","arguments":{"days":3}}]}',
        '{"thought":"x"',
    ],
)
def test_replay_refuses_text_that_leaves_the_skeleton(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|goes on|Unterminated|delimiter"):
        replay(weather(), text)


def test_a_constraint_that_allows_nothing_is_misuse() -> None:
    with pytest.raises(Misuse):
        Walk(DecisionConstraint((), None))


def test_plain_values_run_on_outlines_core_and_cut_patterns_on_llguidance() -> None:
    plain = [
        Free(Text(0, 200), opened=True),
        Free(Integer(-5, 5000), follow=(",", "}")),
        Free(Fixed(Decimal("-1.5"), Decimal(100), 2), follow=("}",)),
    ]
    assert all(isinstance(compiler.matcher(free, VOCABULARY), IndexMatcher) for free in plain)
    cut = Free(Text(0, 12, pattern="^[a-z]+$"), opened=True)
    assert isinstance(compiler.matcher(cut, VOCABULARY), GrammarMatcher)


def test_a_blow_up_falls_back_to_llguidance_within_the_limits() -> None:
    free = Free(Text(0, 40, pattern="^[ab]{0,20}a[ab]{20}$"), opened=True)
    started = time.monotonic()
    matcher = compiler.matcher(free, VOCABULARY)
    assert time.monotonic() - started < 8
    text = decode(matcher, random.Random(3))
    assert text[-22] == "a"
    assert len(text) <= 41


def test_a_long_string_compiles_in_a_fraction_of_a_second() -> None:
    """Without the sentinel in front, outlines_core took 12 s for 200 characters."""
    started = time.process_time()
    compiler.matcher(Free(Text(0, 240), opened=True), vocabulary(2048))
    assert time.process_time() - started < 1


def test_vocabularies_are_compared_by_their_tokens() -> None:
    one, same, other = (Vocabulary((b"a", last), 1) for last in (b"b", b"b", b"c"))
    assert one == same
    assert one != other
    assert len({one, same, other}) == 2


def test_a_matcher_refuses_a_token_outside_its_mask() -> None:
    matcher = compiler.matcher(Choice(("yes", "no")), VOCABULARY)
    with pytest.raises(ValueError, match="leads to none"):
        matcher.advance(VOCABULARY.id_by_bytes[b"x"])
    assert compiler.matcher(Choice(("yes",)), Vocabulary((b"yes", b"n"), 1)).forced_tokens() == [0]


def test_compiled_segments_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "MAX_KEPT_WORK", 3 * 1024 * 20)
    engines = compiler._Engines()
    segments = [Free(Text(0, length), opened=True) for length in range(4, 16)]
    first = [engines.get(segment, VOCABULARY) for segment in segments]
    assert engines._work <= 3 * 1024 * 20
    assert engines.get(segments[-1], VOCABULARY) is first[-1]
    assert engines.get(segments[0], VOCABULARY) is not first[0]
