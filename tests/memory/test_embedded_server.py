"""The embedded Redis: found, private, shared between processes, gone with its owner."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loopwright.errors import RedisMissing
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.server import VARIABLE, EmbeddedRedis, find_server

from ..servers import KINDS, Kind, ServerMissing, find
from .support import claimed, in_loop, types_of


def wait_until(holds: object, seconds: float = 20) -> bool:
    """Poll a condition; return whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def is_alive(pid: int) -> bool:
    """Say whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(params=KINDS)
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """Make one of the servers the embedded one."""
    try:
        monkeypatch.setenv(VARIABLE, str(find(request.param)))
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    kind: Kind = request.param
    return kind


def test_data_survives_a_stop_and_a_second_start(chosen: Kind, tmp_path: Path) -> None:
    async def write(url: str) -> str:
        journal = RedisJournal(url)
        run_id = (await claimed(journal)).lease.run_id
        await journal.aclose()
        return run_id

    async def look(url: str, run_id: str) -> list[str]:
        journal = RedisJournal(url)
        found = await types_of(journal, run_id)
        await journal.aclose()
        return found

    with EmbeddedRedis(tmp_path / "data") as server:
        run_id = asyncio.run(write(server.url))
    with EmbeddedRedis(tmp_path / "data") as server:
        assert asyncio.run(look(server.url, run_id)) == ["run.created", "run.claimed"]


def test_nobody_else_may_enter_the_folder_of_the_socket(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        path = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_a_second_user_of_a_folder_shares_the_server_and_leaves_it_running(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as owner:
        with EmbeddedRedis(tmp_path) as guest:
            assert (owner.is_owner, guest.is_owner) == (True, False)
            assert guest.url == owner.url
        assert owner.pid is not None
        assert is_alive(owner.pid)
    with EmbeddedRedis(tmp_path) as next_owner:
        assert next_owner.is_owner


def test_the_server_dies_with_a_killed_owner_and_the_folder_is_free_again(tmp_path: Path) -> None:
    code = (
        "import sys, time; from loopwright.memory.server import EmbeddedRedis\n"
        "server = EmbeddedRedis(sys.argv[1]).start(); print(server.pid, server.url, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    number, url = owner.stdout.readline().split()
    pid, folder = int(number), Path(url.removeprefix("unix://")).parent
    assert is_alive(pid)
    owner.send_signal(signal.SIGKILL)
    owner.wait(20)
    owner.stdout.close()
    assert wait_until(lambda: not is_alive(pid))
    with EmbeddedRedis(tmp_path) as server:
        assert server.is_owner
        assert not folder.exists()


def test_a_server_started_in_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    """The kernel's parent-death signal watches the thread that started the child, not the process."""
    server = EmbeddedRedis(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert server.pid is not None
        assert not wait_until(lambda: not is_alive(server.pid or 0), seconds=0.3)
    finally:
        server.stop()
    server.stop()


@in_loop
async def test_it_starts_without_blocking_the_loop(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path) as server:
        journal = RedisJournal(server.url)
        assert (await journal.connect()).settings["appendonly"] == "yes"
        await journal.aclose()
    with pytest.raises(RedisMissing):
        _ = server.url


def test_a_long_folder_for_temporary_files_is_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    with EmbeddedRedis(deep / "data") as server:
        assert len(server.url) < 108


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RedisMissing, match="apt install redis-server"):
        find_server()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(RedisMissing, match=VARIABLE):
        find_server()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(RedisMissing, match="did not start"):
        EmbeddedRedis(tmp_path).start()
    monkeypatch.setenv(VARIABLE, sys.executable)
    with pytest.raises(RedisMissing, match="did not start"):
        EmbeddedRedis(tmp_path / "other").start()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RedisMissing, match="file/data"):
        EmbeddedRedis(tmp_path / "file" / "data").start()
