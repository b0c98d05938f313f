"""Where measured figures of the full size go: one JSON file that docs/guarantees.md quotes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .world import IS_FULL

FILE = Path(__file__).parents[2] / "benchmarks" / "results" / "chaos.json"


def record(test: str, **figures: Any) -> None:
    """Keep what a test measured; printed always, written down only at full size."""
    print(f"{test}: {figures}")
    if not IS_FULL:
        return
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[test] = {"when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), **figures}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, 0 without values."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0
