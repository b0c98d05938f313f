"""Retries: jittered, bounded, and as patient as the server asks."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from loopwright.errors import EndpointError, EndpointRefused, EndpointUnavailable
from loopwright.inference.retry import RetryPolicy, with_retries


class Attempts:
    """Fails as scripted, then succeeds; writes down the waits."""

    def __init__(self, *failures: EndpointError) -> None:
        self.failures = list(failures)
        self.count = 0
        self.waits: list[float] = []

    async def __call__(self) -> str:
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def run(self, policy: RetryPolicy = RetryPolicy(), remaining_s: float = 1e9, chance: float = 1.0) -> str:  # noqa: B008
        """Run to the end without waiting."""
        attempt: Callable[[], Awaitable[str]] = self
        return asyncio.run(
            with_retries(attempt, policy, remaining_s=lambda: remaining_s, sleep=self.sleep, random=lambda: chance)
        )


def busy(retry_after_s: float | None = None) -> EndpointUnavailable:
    return EndpointUnavailable("e", "HTTP 503", retry_after_s=retry_after_s)


def test_waits_double_up_to_the_cap() -> None:
    attempts = Attempts(*[busy() for _ in range(5)])
    assert attempts.run(RetryPolicy(attempts=6, base_s=1.0, cap_s=5.0)) == "done"
    assert attempts.waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_jitter_scales_each_wait() -> None:
    attempts = Attempts(busy(), busy())
    attempts.run(RetryPolicy(base_s=1.0), chance=0.25)
    assert attempts.waits == [0.25, 0.5]


def test_retry_after_is_a_lower_bound() -> None:
    attempts = Attempts(busy(7.0), busy())
    attempts.run(RetryPolicy(base_s=0.5))
    assert attempts.waits == [7.5, 1.0]


def test_a_retry_after_beyond_the_cap_is_reported_at_once() -> None:
    attempts = Attempts(busy(3600.0))
    with pytest.raises(EndpointUnavailable) as caught:
        attempts.run()
    assert caught.value.retry_after_s == 3600.0
    assert attempts.waits == []


def test_no_wait_reaches_beyond_the_deadline() -> None:
    attempts = Attempts(busy(), busy(), busy())
    with pytest.raises(EndpointUnavailable):
        attempts.run(RetryPolicy(base_s=4.0), remaining_s=5.0)
    assert attempts.waits == [4.0]


def test_the_last_failure_is_raised_when_the_tries_are_used_up() -> None:
    attempts = Attempts(*[EndpointUnavailable("e", f"failure {number}") for number in range(9)])
    with pytest.raises(EndpointUnavailable, match="failure 2"):
        attempts.run(RetryPolicy(attempts=3))
    assert attempts.count == 3


def test_a_refusal_is_never_repeated() -> None:
    attempts = Attempts(busy(), EndpointRefused("e", "bad"))
    with pytest.raises(EndpointRefused):
        attempts.run()
    assert attempts.count == 2


def test_success_at_the_first_try_waits_for_nothing() -> None:
    attempts = Attempts()
    assert attempts.run() == "done"
    assert attempts.waits == []
