"""Run by Python at the start of processes that a worker under attack starts: give them their failpoints, too."""

import importlib.util
import os
from pathlib import Path

if "CHAOS_DIE" in os.environ:
    spec = importlib.util.spec_from_file_location("failpoints", Path(__file__).parents[1] / "toolbox" / "failpoints.py")
    assert spec is not None and spec.loader is not None
    failpoints = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(failpoints)
    failpoints.install()
