"""Draws a token among those allowed."""

from typing import TYPE_CHECKING, Any

from ..endpoint import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Sampler:
    """Draws as one completion's `Sampling` says; the same seed draws the same."""

    def __init__(self, sampling: Sampling) -> None:
        import numpy

        self._temperature = sampling.temperature
        self._top_p = sampling.top_p
        self._random = numpy.random.default_rng(sampling.seed)

    def draw(self, logits: "NDArray[Any]", allowed: "Sequence[int] | NDArray[Any]") -> int:
        """Return one of the allowed token ids."""
        import numpy

        ids = numpy.asarray(allowed)
        values = logits[ids].astype(numpy.float64)
        if self._temperature <= 0:
            return int(ids[values.argmax()])
        weights = numpy.exp((values - values.max()) / self._temperature)
        weights /= weights.sum()
        if self._top_p is not None and self._top_p < 1:
            order = numpy.argsort(-weights)
            beyond = numpy.cumsum(weights[order]) - weights[order] >= self._top_p
            weights[order[beyond]] = 0.0
            weights /= weights.sum()
        return int(self._random.choice(ids, p=weights))
