"""Start a real vLLM server on a free loopback port, wait until it answers, end it with all its processes."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STRUCTURED_OUTPUTS = '{"backend":"guidance","disable_any_whitespace":true}'
"""The one configuration in which every answer was valid; see docs/inference.md."""

START_S = 420.0
"""Longest start; 45 s on an idle core, 150 s on a busy one."""


@dataclass(frozen=True, slots=True)
class VllmServer:
    """A running server. `url` is the OpenAI-compatible base URL, `root` the server's own."""

    root: str
    model: str
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Base URL for an OpenAI-compatible client."""
        return f"{self.root}/v1"

    def metric(self, name: str) -> float:
        """Return the sum of one metric over its labels, from `/metrics`."""
        text = _get(f"{self.root}/metrics")
        lines = (line for line in text.splitlines() if line.startswith(name) and line[len(name)] in " {")
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@contextlib.contextmanager
def vllm_server(python: Path, checkpoint: Path, log: Path, *, window: int = 4096) -> Iterator[VllmServer]:
    """Run vLLM on the checkpoint for the length of the block.

    The server starts three processes; they form a process group of their own, which is killed at the end.

    Args:
        python: Interpreter of the environment that has vLLM.
        checkpoint: Folder with weights, tokenizer and chat template.
        log: File for everything the server prints; its end is shown when the start fails.
        window: `--max-model-len`.
    """
    port = _free_port()
    argv = [str(python), "-m", "vllm.entrypoints.openai.api_server", *_flags(checkpoint, port, window)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True, cwd=log.parent
        )
    server = VllmServer(f"http://127.0.0.1:{port}", "tiny", log, process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _flags(checkpoint: Path, port: int, window: int) -> list[str]:
    values = {
        "--model": str(checkpoint),
        "--served-model-name": "tiny",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": str(window),
        "--max-num-seqs": "16",
        "--structured-outputs-config": STRUCTURED_OUTPUTS,
    }
    flags = [part for pair in values.items() for part in pair]
    return [*flags, "--enforce-eager", "--enable-prompt-tokens-details"]


def _environment() -> dict[str, str]:
    return os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "0"),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def _wait_until_ready(server: VllmServer) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            _get(f"{server.root}/health")
            return
        time.sleep(0.5)
    tail = server.log.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"vLLM did not start (exit code {server.process.poll()}); the end of {server.log}:\n{tail}")


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        return str(response.read().decode())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
