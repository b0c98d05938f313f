"""The tutorial is played as it stands on its page: one agent file, one shell session, real kills."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-kill-it.md"
MOST_S = 150


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def played(folder: Path) -> str:
    """Run the page's commands in one shell, on another port; return what they print."""
    port = free_port()
    (agents,) = blocks("python")
    (folder / "slow_shop.py").write_text(agents)
    commands = "\n".join(blocks("sh")).replace("8300", str(port))
    session = f"set -e\ntrap 'kill $SERVE 2>/dev/null || true' EXIT\n{commands}"
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOOPWRIGHT_PORT": str(port),
        "LOOPWRIGHT_URL": f"http://127.0.0.1:{port}",
    }
    done = subprocess.run(
        ["bash", "-c", session], cwd=folder, env=env, capture_output=True, text=True, timeout=MOST_S, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_killed_worker_costs_nothing_but_time_as_the_tutorial_says(tmp_path: Path) -> None:
    said = played(tmp_path)
    assert (tmp_path / "calls.log").read_text().splitlines() == ["looked up A-1042"] * 2 + ["cancelled A-1042"]
    promised = [line.strip() for text in blocks("text") for line in text.splitlines()]
    for line in promised:
        kept = re.split(r"[0-9a-f]{34}|vm-\S+|\(…/|\d+ ms", line)
        assert all(part.strip() in said for part in kept), f"{line!r} is not in:\n{said}"
    expected = re.findall(r"# (.+)$", "\n".join(blocks("sh")), re.MULTILINE)
    assert expected == ["2", "1", '"status":"succeeded"', "1, still"]
    lines = said.splitlines()
    assert [line for line in lines if line in ("1", "2")] == ["2", "1", "1"]
    assert '"status":"succeeded"' in lines
