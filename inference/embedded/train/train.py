"""Trains the model on one CPU core within a wall-clock budget: `python -m loopwright.inference.embedded.train.train`.

The learning rate rises for a few steps, stays, and falls to zero by the end of the budget. The state is written
every few minutes and picked up again, so training may be stopped at any time. A file `minutes` in the state folder
overrides the budget while it runs.
"""

import argparse
import json
import os
import signal
import time
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.utils.data import DataLoader

from . import tokenizer as tokenizers
from .batches import Batch, Steps, row
from .encode import Encoder
from .generator import Split, conversations
from .model import LanguageModel, ModelConfig, rope_tables
from .muon import Muon

FREE_PER_STEP = 1000.0
"""Constant that the summed loss is divided by; a batch's own count would overweigh short kinds."""
WARM_UP = 60
"""Steps until the full learning rate."""
STABLE = 0.35
"""Share of the budget at the full learning rate; then linear decay to zero."""
RATES = {"muon": 0.02, "adam": 3e-3}


stopping: list[bool] = []
"""Not empty once a SIGTERM has come: the state is saved and training ends."""


def ensure_tokenizer(path: Path) -> None:
    """Train the tokenizer unless it exists."""
    if path.exists():
        return
    texts = (t.content for c in islice(conversations("tokenizer", "train", episodes=8), 3000) for t in c.turns)
    tokenizers.train(texts).save(str(path))


class Trainer:
    """Model, optimisers and clock."""

    def __init__(self, state: Path, config: ModelConfig, seed: int) -> None:
        torch.manual_seed(seed)
        self.state, self.config, self.seed = state, config, seed
        self.model = LanguageModel(config)
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        self.muon = Muon(matrices, lr=RATES["muon"])
        self.adam = torch.optim.AdamW(others, lr=RATES["adam"], betas=(0.9, 0.95), weight_decay=0.0)
        self.step, self.elapsed_s, self.tokens = 0, 0.0, 0
        self.tables = {length: rope_tables(length, config) for length in (512, 1024)}
        self.encoder = Encoder(tokenizers.load(state / "tokenizer.json"))

    def save(self) -> None:
        """Write the state in one move."""
        content = {
            "model": self.model.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "config": self.config.to_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "tokens": self.tokens,
        }
        torch.save(content, self.state / "state.tmp")
        os.replace(self.state / "state.tmp", self.state / "state.pt")

    def load(self) -> bool:
        """Take up a stored state, if there is one."""
        path = self.state / "state.pt"
        if not path.exists():
            return False
        content = torch.load(path, weights_only=True)
        self.model.load_state_dict(content["model"])
        self.muon.load_state_dict(content["muon"])
        self.adam.load_state_dict(content["adam"])
        self.step, self.elapsed_s, self.tokens = content["step"], content["elapsed_s"], content["tokens"]
        return True

    def set_rate(self, progress: float) -> None:
        """Set the learning rates for a share of the budget that is used up."""
        factor = min(1.0, (self.step + 1) / WARM_UP, (1.0 - progress) / (1.0 - STABLE))
        for optimiser, rate in ((self.muon, RATES["muon"]), (self.adam, RATES["adam"])):
            optimiser.param_groups[0]["lr"] = rate * max(0.0, factor)

    def update(self, loss_of: Any, batch: Batch) -> tuple[float, float]:
        """Take one step; return summed loss and scored tokens."""
        ids, where, target, weight = batch
        with torch.autocast("cpu", torch.bfloat16):
            total = loss_of(ids, where, target, weight, *self.tables[ids.shape[1]])
        (total / FREE_PER_STEP).backward()
        self.muon.step()
        self.adam.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += ids.numel()
        return float(total.detach()), float(weight.sum())

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def evaluate(self, split: Split, rows: int = 16) -> dict[str, float]:
        """Return the share of episodes whose every free token is the model's first choice, by kind."""
        counts: dict[str, list[int]] = {}
        for index in range(rows):
            encoded = row(self.encoder, Random(f"eval:{split}:{index}"), split, 1024)
            ids = torch.tensor([encoded.ids])
            with torch.autocast("cpu", torch.bfloat16):
                hidden = self.model(ids, *rope_tables(ids.shape[1], self.config))
                choice = self.model.logits(hidden)[0].argmax(-1)
            right = (choice[:-1] == ids[0, 1:]) | ~torch.tensor(encoded.free[1:])
            for start, stop, kind in encoded.spans:
                for name in (kind, "all"):
                    count = counts.setdefault(name, [0, 0])
                    count[0] += bool(right[start - 1 : stop - 1].all())
                    count[1] += 1
        return {name: round(good / total, 3) for name, (good, total) in sorted(counts.items())}


def budget_s(state: Path, minutes: float) -> float:
    """Return the budget in seconds; the file `minutes` in the state folder wins."""
    path = state / "minutes"
    try:
        return float(path.read_text()) * 60
    except (FileNotFoundError, ValueError):
        return minutes * 60


def background_core(core: int | None) -> None:
    """Keep the data worker off the training core."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def run(arguments: argparse.Namespace) -> None:
    """Train until the budget is used up."""
    state: Path = arguments.state
    state.mkdir(parents=True, exist_ok=True)
    ensure_tokenizer(state / "tokenizer.json")
    torch.set_num_threads(1)
    trainer = Trainer(state, ModelConfig(), arguments.seed)
    print(
        "resumed" if trainer.load() else "fresh",
        sum(p.numel() for p in trainer.model.parameters()),
        "parameters",
        flush=True,
    )
    steps = Steps(str(state / "tokenizer.json"), arguments.seed, trainer.step, 1_000_000)
    loader = DataLoader(
        steps,
        batch_size=None,
        num_workers=1,
        prefetch_factor=8,
        worker_init_fn=lambda _: background_core(arguments.data_core),
    )
    loss_of = torch.compile(trainer.model.free_loss, dynamic=False) if arguments.compile else trainer.model.free_loss
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    loop(trainer, loader, loss_of, arguments)
    trainer.save()
    if not stopping:
        report(trainer, rows=48)


def loop(trainer: Trainer, loader: Any, loss_of: Any, arguments: argparse.Namespace) -> None:
    """Step through the batches, logging every minute, saving and evaluating every few minutes."""
    last = logged = checked = time.monotonic()
    started, loss, scored, tokens = last - trainer.elapsed_s, 0.0, 0.0, trainer.tokens
    for batch in loader:
        now = time.monotonic()
        trainer.elapsed_s = now - started
        progress = trainer.elapsed_s / budget_s(trainer.state, arguments.minutes)
        if progress >= 1 or stopping:
            return
        trainer.set_rate(progress)
        total, count = trainer.update(loss_of, batch)
        loss, scored = loss + total, scored + count
        if now - logged > arguments.log_s:
            rate = (trainer.tokens - tokens) / (now - logged)
            line = {"step": trainer.step, "minutes": round(trainer.elapsed_s / 60, 1), "tokens": trainer.tokens}
            print(json.dumps({**line, "loss": round(loss / scored, 4), "tokens_per_s": round(rate)}), flush=True)
            logged, loss, scored, tokens = now, 0.0, 0.0, trainer.tokens
        if now - checked > arguments.check_s:
            trainer.save()
            report(trainer, rows=12)
            checked = time.monotonic()


def report(trainer: Trainer, rows: int) -> None:
    """Print held-out success as JSON lines."""
    for split in ("values", "phrasings", "tools"):
        print(json.dumps({"step": trainer.step, "split": split, **trainer.evaluate(split, rows)}), flush=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".cache/train"), help="folder of the resumable state")
    parser.add_argument("--minutes", type=float, default=80.0, help="wall-clock budget")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-s", type=float, default=60.0)
    parser.add_argument("--check-s", type=float, default=300.0)
    parser.add_argument("--data-core", type=int, default=None, help="core for the data worker")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
