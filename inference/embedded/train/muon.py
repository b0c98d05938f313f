"""Muon for matrices: momentum whose direction is orthogonalised (Keller Jordan, 2024, "Muon")."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return the nearest semi-orthogonal matrices by a quintic Newton-Schulz iteration.

    Args:
        matrices: A stack of shape (count, rows, columns) with rows <= columns.
        steps: Iterations.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.float()


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Nesterov momentum, orthogonalised; matrices of one shape are handled together."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update every matrix."""
        del closure
        for group in self.param_groups:
            by_shape: dict[Any, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                by_shape[tuple(p.shape)].append(p)
            for (rows, columns), params in by_shape.items():
                update = torch.stack([self._direction(p, group["momentum"]) for p in params])
                wide = update if rows <= columns else update.transpose(1, 2)
                update = orthogonalise(wide)
                update = update if rows <= columns else update.transpose(1, 2)
                for p, u in zip(params, update, strict=True):
                    p.add_(u, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        grad = p.grad if p.grad is not None else torch.zeros_like(p)
        buffer: Tensor = state["momentum"].lerp_(grad, 1 - momentum)
        return grad.lerp(buffer, momentum)
