"""The example in docs/journal.md runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..servers import ServerMissing, find

PAGE = Path(__file__).parents[2] / "docs" / "journal.md"


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    try:
        find("system")
    except ServerMissing as missing:
        pytest.skip(str(missing))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.stdout == "['run.created', 'run.claimed', 'run.succeeded']\n", shown.stderr
