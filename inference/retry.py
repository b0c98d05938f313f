"""Try a request again while the server is busy or away: jittered backoff that honours `Retry-After`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from ..errors import EndpointUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a request is repeated before its first token.

    Attributes:
        attempts: Most tries, the first one included.
        base_s: Upper bound of the first wait; it doubles with each try. Waits are drawn evenly from zero to the bound
            ("full jitter", Brooker, AWS Architecture Blog 2015), so that clients turned away together come back apart.
        cap_s: Largest bound, and the longest `Retry-After` that is waited for; a longer one is reported at once.
    """

    attempts: int = 4
    base_s: float = 0.5
    cap_s: float = 20.0

    def wait_s(self, attempt: int, asked_s: float | None, chance: float) -> float:
        """Return the wait behind failed try number `attempt`, counted from 1.

        Args:
            attempt: The try that failed.
            asked_s: What the server asked for; the drawn wait comes on top of it, so that nobody comes early.
            chance: A number drawn evenly from 0 to 1.
        """
        drawn = chance * min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        return drawn if asked_s is None else asked_s + min(drawn, 1.0)


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    remaining_s: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    random: Callable[[], float],
) -> T:
    """Return what `attempt` returns, repeating it while it raises `EndpointUnavailable`.

    Nothing is set up for retrying until the first try has failed.

    Args:
        attempt: One try.
        policy: How often and how patiently.
        remaining_s: Seconds that are left for all tries; no wait reaches beyond them.
        sleep: Waits; a test passes one that does not.
        random: Draws from 0 to 1.

    Raises:
        EndpointUnavailable: The last failure, when tries or time have run out or the server asks for a longer wait.
    """
    try:
        return await attempt()
    except EndpointUnavailable as error:
        failed: list[EndpointUnavailable] = [error]

    async def again() -> T:
        if failed:
            raise failed.pop()
        return await attempt()

    def wait(state: RetryCallState) -> float:
        return policy.wait_s(state.attempt_number, _asked(state), random())

    def is_over(state: RetryCallState) -> bool:
        too_long = (_asked(state) or 0.0) > policy.cap_s or state.upcoming_sleep > remaining_s()
        return too_long or state.attempt_number >= policy.attempts

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(EndpointUnavailable),
        wait=wait,
        stop=is_over,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(again)


def _asked(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, EndpointUnavailable) else None
