"""The page on workers is true where a test can tell."""

import re
import subprocess
import sys
from pathlib import Path

from loopwright.settings import Settings
from loopwright.workers.doorbell import QUEUES

PAGE = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()


def test_the_example_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Heard(workers=0" in done.stdout


def test_the_settings_have_these_defaults() -> None:
    rows = re.findall(r"\| `([A-Z_]+)` \| (\d+) \|", PAGE)
    assert len(rows) == 5
    for name, default in rows:
        assert Settings.model_fields[name.lower()].default == float(default)


def test_the_queues_have_these_names() -> None:
    for name in re.findall(r"`(loopwright\.\w+\.\d)`", PAGE):
        assert name in QUEUES
