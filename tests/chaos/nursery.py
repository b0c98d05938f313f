"""A process that has imported everything and forks `loopwright` commands on demand, so that a restart is cheap.

Run as a module; reads one JSON object a line: `{"argv": [...], "env": {...}, "log": path}`, answers `{"pid": n}`, and
reports each end as `{"ended": pid, "code": n}`. A child is what the command line would be, but for the time to import;
the command `rival` is a worker of plain Celery.
Children die with the nursery, the nursery with its standard input.
"""

import contextlib
import ctypes
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from typing import Any

from . import rival
from .toolbox import failpoints

PRELOADED = (
    "loopwright.cli", "celery.worker", "celery.app.amqp", "celery.bin.worker", "celery.worker.consumer",
    "kombu.transport.redis", "celery.concurrency.base", "redis.asyncio", "httpx2", "structlog", "jsonschema",
    "fastapi", "uvicorn", "loopwright.workers.process", "loopwright.api.server", "loopwright.api.app",
    "loopwright.agents", "loopwright.memory.journal.redis", "loopwright.inference.openai_compatible",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fork as asked until standard input ends."""
    for name in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    wake_in, wake_out = os.pipe()
    os.set_blocking(wake_out, False)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = selectors.DefaultSelector()
    waiting.register(wake_in, selectors.EVENT_READ)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    say({"ready": True})
    while True:
        for key, _ in waiting.select():
            if key.fileobj == wake_in:
                os.read(wake_in, 4096)
                reap()
            elif line := sys.stdin.readline():
                say({"pid": spawn(json.loads(line))})
            else:
                return


def say(value: dict[str, Any]) -> None:
    """Tell the harness something."""
    print(json.dumps(value), flush=True)


def reap() -> None:
    """Report children that ended."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            say({"ended": found[0], "code": os.waitstatus_to_exitcode(found[1])})


def spawn(order: dict[str, Any]) -> int:
    """Fork one command and return its pid."""
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.setpgid(0, 0)
        become(order)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 70
    else:
        code = 0
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def become(order: dict[str, Any]) -> None:
    """Run the command in this process, as the command line would."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.environ.update(order["env"])
    failpoints.install()
    if order["argv"] == ["rival"]:
        return rival.work()
    sys.argv = ["loopwright", *order["argv"]]
    sys.orig_argv = [sys.executable, "-m", "loopwright.cli", *order["argv"]]  # for a worker that starts itself anew
    from loopwright.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
