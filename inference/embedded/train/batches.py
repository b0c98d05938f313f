"""Rows of fixed length made of whole conversations, and the positions in them that are scored."""

from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .encode import Encoded, Encoder, encode_conversation
from .generator import Split, conversation
from .tokenizer import load


@dataclass(frozen=True)
class Shape:
    """A batch shape: rows, tokens per row, scored positions per batch. Each shape is compiled once."""

    rows: int
    length: int
    scored: int


SHAPES = (Shape(4, 1024, 1472), Shape(4, 1024, 1472), Shape(8, 512, 1152))
"""Shapes in turn: long rows hold more decisions per prompt token, short ones bring more different heads."""

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def row(encoder: Encoder, rng: Random, split: Split, length: int) -> Encoded:
    """Return one conversation that holds at least one whole episode."""
    most = 10 if length > 600 else 5
    while True:
        found = encode_conversation(encoder, conversation(rng, split, episodes=length // 50, most_tools=most), length)
        if found.spans:
            return found


def collate(rows: list[Encoded], shape: Shape, pad: int) -> Batch:
    """Return (ids, where, target, weight) as `LanguageModel.free_loss` takes them."""
    ids = np.full((shape.rows, shape.length), pad, dtype=np.int64)
    where, target = [], []
    for index, encoded in enumerate(rows):
        ids[index, : len(encoded.ids)] = encoded.ids
        free = np.flatnonzero(encoded.free)
        where.append(free - 1 + index * shape.length)
        target.append(np.asarray(encoded.ids)[free])
    places, targets = np.concatenate(where)[: shape.scored], np.concatenate(target)[: shape.scored]
    padded = np.zeros((2, shape.scored), dtype=np.int64)
    padded[0, : len(places)], padded[1, : len(targets)] = places, targets
    weight = np.zeros(shape.scored, dtype=np.float32)
    weight[: len(places)] = 1.0
    return torch.from_numpy(ids), torch.from_numpy(padded[0]), torch.from_numpy(padded[1]), torch.from_numpy(weight)


class Steps(Dataset[Batch]):  # type: ignore[misc]
    """The batch of every step; step and seed decide it, so training resumes where it stood."""

    def __init__(self, tokenizer: str, seed: int, first: int, count: int) -> None:
        self._path, self._seed, self._first, self._count = tokenizer, seed, first, count
        self._encoder: Encoder | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        """Return the batch of a step."""
        if self._encoder is None:
            from pathlib import Path

            self._encoder = Encoder(load(Path(self._path)))
        step = self._first + index
        rng = Random(f"train:{self._seed}:{step}")
        shape = SHAPES[step % len(SHAPES)]
        rows = [row(self._encoder, rng, "train", shape.length) for _ in range(shape.rows)]
        return collate(rows, shape, self._encoder.pad)
