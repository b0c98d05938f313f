"""Build the environment of the peers, `.venv-peers`, apart from ours: theirs pins what we must be free to move.

Running it again does nothing until `requirements.txt` or the interpreter changes.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def build_env() -> Path:
    """Return the interpreter of an environment that holds exactly the pinned peers, building it when it is stale.

    Raises:
        SystemExit: The packages could not be installed; uv has said why.
    """
    python = VENV / "bin" / "python"
    stamp = VENV / "peers.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print("building .venv-peers (about a hundred packages; once)", file=sys.stderr)
    _uv("venv", "--clear", "--quiet", "--python", sys.executable, str(VENV))
    _uv("pip", "sync", "--quiet", "--python", str(python), str(REQUIREMENTS))
    stamp.write_text(wanted)
    return python


def _uv(*arguments: str) -> None:
    uv = ROOT / ".venv" / "bin" / "uv"
    command = [str(uv) if uv.exists() else "uv", *arguments]
    environment = {**os.environ, "UV_LINK_MODE": "copy"}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SystemExit(f"could not build .venv-peers: {' '.join(command[:3])} failed")


if __name__ == "__main__":
    print(build_env())
