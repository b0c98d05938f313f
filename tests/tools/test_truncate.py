"""A result cut to what the model may spend on it."""

import pytest

from loopwright.tools import fit


def test_what_fits_stays_as_it_is() -> None:
    assert fit("short", 100) == ("short", False)
    assert fit("x" * 400, 100) == ("x" * 400, False)
    assert fit("", 16) == ("", False)


def test_what_is_too_long_keeps_its_head_and_a_short_tail_and_says_how_to_read_on() -> None:
    text = "".join(f"{number:05} " for number in range(2000))
    shown, cut = fit(text, 100, "r1.1")
    assert cut
    head, note, tail = shown.split("\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + len(tail) == 400
    assert note == (
        f"[characters 0-{len(head)} and the last {len(tail)} of 12000 are shown; "
        f'read_artifact("r1.1", offset={len(head)}) returns more]'
    )


@pytest.mark.parametrize(("letter", "most"), [("x", 400), ("ü", 200), ("語", 134), ("😀", 100)])
def test_scripts_that_cost_more_tokens_get_fewer_characters(letter: str, most: int) -> None:
    shown, _ = fit(letter * 10_000, 100)
    assert shown.count(letter) <= most


def test_a_cut_never_breaks_what_cannot_be_encoded() -> None:
    assert fit("\ud800" * 1000, 16)[1]
