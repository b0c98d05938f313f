"""What every benchmark here shares: one measurement in a child process, medians, tables, and the files they end in."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
# Peers that watch their users by default are told not to.
QUIET = {"LANGSMITH_TRACING": "false", "OPENAI_AGENTS_DISABLE_TRACING": "1", "AGNO_TELEMETRY": "false"}


def measure(python: str | Path, module: str, *arguments: str, timeout_s: float = 600) -> dict[str, Any]:
    """Run one module of this folder in a process of its own and return the JSON object that it prints last.

    Raises:
        SystemExit: It failed; its output has been shown.
    """
    command = [str(python), "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=HERE, env=os.environ | QUIET, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def median(samples: Sequence[Mapping[str, Any]], key: str) -> float:
    """Return the middle of one figure over the rounds."""
    return float(statistics.median(sample[key] for sample in samples))


def spread(samples: Sequence[Mapping[str, Any]], key: str) -> str:
    """Return the lowest and highest of one figure over the rounds."""
    values = [float(sample[key]) for sample in samples]
    return f"{number(min(values))}-{number(max(values))}"


def number(value: float) -> str:
    """Write a figure with three significant digits, thousands with a comma."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, its first column left, all others right, padded so that it reads as plain text."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    cells = [
        [
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [cells[0], rule, *cells[1:]]) + "\n"


def target(what: str, reached: str, wanted: str, met: bool) -> str:
    """Return one line about a target."""
    return f"- {what}: {reached} (target {wanted}: {'met' if met else 'missed'})"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model,
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)),
        "load": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def describe(where: Mapping[str, Any]) -> str:
    """Return the machine in one sentence, for the head of a table."""
    return (
        f"{where['when']}, {where['cpu']}, {where['cores_used']} of {where['cores']} cores, load {where['load'][0]}, "
        f"Python {where['python']}, {where['system']}."
    )


def publish(name: str, markdown: str, data: Mapping[str, Any]) -> None:
    """Write `results/<name>.md` for people and `results/<name>.json`, with every sample, for programs."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(markdown, encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
