"""Sequences begin where an earlier one left off, copies leave their originals alone, and memory stays bounded."""

import pytest

from loopwright.inference.embedded import Checkpoint
from loopwright.inference.embedded.network import BLOCK, Network, PrefixCache, TokenSequence


@pytest.fixture(scope="module")
def network() -> Network:
    checkpoint = Checkpoint()
    return Network(checkpoint.load_session(threads=1), checkpoint.config)


def read(network: Network, ids: list[int]) -> TokenSequence:
    sequence = TokenSequence(network)
    sequence.read(ids)
    return sequence


def test_a_sequence_goes_on_where_it_stood(network: Network) -> None:
    ids = list(range(40, 80))
    sequence = read(network, ids[:25])
    assert abs(sequence.read(ids[25:]) - TokenSequence(network).read(ids)).max() < 1e-3
    assert sequence.tokens == ids


def test_memory_grows_without_losing_what_was_read(network: Network) -> None:
    ids = [5 + i % 900 for i in range(BLOCK + 50)]
    sequence = read(network, ids[:BLOCK])
    assert sequence.capacity == BLOCK
    assert abs(sequence.read(ids[BLOCK:]) - TokenSequence(network).read(ids)).max() < 1e-3


def test_a_prompt_that_goes_on_gets_the_sequence_itself(network: Network) -> None:
    cache = PrefixCache(network, 4 * BLOCK)
    kept = read(network, [7, 8, 9])
    cache.give(kept)
    assert cache.take([7, 8, 9, 10]) is kept


def test_a_prompt_that_branches_off_gets_a_copy(network: Network) -> None:
    cache = PrefixCache(network, 4 * BLOCK)
    kept = read(network, [7, 8, 9])
    cache.give(kept)
    copy = cache.take([7, 8, 11])
    assert copy.tokens == [7, 8]
    copy.read([11])
    assert kept.tokens == [7, 8, 9]
    assert cache.take([7, 8, 9, 10]) is kept


def test_the_last_token_of_a_prompt_is_always_read_anew(network: Network) -> None:
    """Its logits are what the completion begins with."""
    cache = PrefixCache(network, 4 * BLOCK)
    cache.give(read(network, [7, 8, 9]))
    assert cache.take([7, 8, 9]).tokens == [7, 8]


def test_the_least_recently_used_sequence_goes_first(network: Network) -> None:
    cache = PrefixCache(network, 2 * BLOCK)
    for first in (11, 12, 13):
        cache.give(read(network, [first, 20, 21]))
    assert cache.take([11, 20, 21, 22]).tokens == []
    assert cache.take([13, 20, 21, 22]).tokens == [13, 20, 21]
