"""The client is light enough for scripts: it loads neither servers nor models."""

import subprocess
import sys

CODE = """
import resource, sys
import loopwright
loopwright.Client
used = resource.getrusage(resource.RUSAGE_SELF)
heavy = {"celery", "dspy", "fastapi", "kombu", "llguidance", "openai", "outlines", "redis", "starlette", "torch"}
print(used.ru_utime + used.ru_stime, sorted(heavy & set(sys.modules)))
"""


def test_the_client_is_ready_within_four_tenths_of_a_cpu_second_and_loads_nothing_heavy() -> None:
    runs = [subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True) for _ in range(3)]
    assert {run.stdout.split(maxsplit=1)[1].strip() for run in runs} == {"[]"}
    assert min(float(run.stdout.split()[0]) for run in runs) <= 0.4
