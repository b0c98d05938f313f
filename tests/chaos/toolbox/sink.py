"""Where the tools of the chaos agents act: a file that only grows, so that everything they did can be counted.

A line is one `write` to a file opened for appending: lines of processes that are killed are whole or not there.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


def note(kind: str, **facts: Any) -> None:
    """Write down that something happened."""
    line = json.dumps({"kind": kind, "pid": os.getpid(), "at": time.monotonic(), **facts}) + "\n"
    handle = os.open(os.environ["CHAOS_SINK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def noted(path: str | Path | None = None) -> list[dict[str, Any]]:
    """Return everything written down so far."""
    file = Path(path or os.environ["CHAOS_SINK"])
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
