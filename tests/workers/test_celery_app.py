"""The app: where it connects, what it refuses, and what it leaves alone."""

import inspect
import json
import logging
import pickle
import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from loopwright.errors import SettingsInvalid
from loopwright.memory.journal.ids import new_run_id
from loopwright.workers.celery_app import Messenger, broker_url, check_versions, make_app, worker_name
from loopwright.workers.doorbell import ECHO, QUEUES, WAKE, envelope, queue_of
from loopwright.workers.pool import AioPool

from ..servers import RedisServer
from .support import eventually, forget_celery


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("redis://h:7/2", "redis://h:7/2"),
        ("redis://h", "redis://h/0"),
        ("redis://:p%40ss@h/1", "redis://:p%40ss@h/1"),
        ("redis://h?db=3", "redis://h/3"),
        ("redis://h/1?socket_timeout=3", "redis://h/1"),
        ("rediss://h/1", "rediss://h/1?ssl_cert_reqs=required"),
        ("rediss://h?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none", "rediss://h/0?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix://u:p@/run/redis.sock?db=4", "redis+socket://u:p@/run/redis.sock?virtual_host=4"),
        ("unix:///run/redis.sock?password=a%2Fb", "redis+socket://:a%2Fb@/run/redis.sock?virtual_host=0"),
    ],
)  # fmt: skip
def test_a_url_leads_kombu_where_it_leads_redis_py(ours: str, theirs: str) -> None:
    assert broker_url(ours) == theirs


@pytest.mark.parametrize("url", ["sentinel://h", "amqp://h", "h:1", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="redis_url"):
        broker_url(url)


@pytest.mark.parametrize("url", ["redis://u:hush@h:7/2", "rediss://:hush@h", "unix://:hush@/run/x.sock"])
def test_a_password_is_known_to_the_connection_and_to_nobody_who_looks(url: str) -> None:
    app = make_app(url, QUEUES)
    connection = app.connection_for_read()
    params = connection.transport.Channel._connparams  # what redis-py will be given
    assert params is not None
    shown = [connection.as_uri(), repr(connection), repr(app), str(app.conf.table(censored=True))]
    assert not any("hush" in each for each in shown)
    assert "hush" in f"{connection.password}{connection.hostname}"
    app.close()


def test_a_broker_in_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere/0")
    monkeypatch.setenv("CELERY_BROKER_READ_URL", "redis://elsewhere/0")
    app = make_app("redis://here:7/0", QUEUES)
    assert app.connection_for_read().hostname == "here"
    assert app.connection_for_write().hostname == "here"
    app.close()


def test_versions_that_lose_wakeups_are_refused() -> None:
    check_versions()
    with pytest.raises(SettingsInvalid, match=r"kombu.*5\.6\.2.*kombu>=5\.7"):
        check_versions({"celery": "5.7.0", "kombu": "5.6.2"}.__getitem__)


def test_a_worker_name_fits_into_a_key() -> None:
    names = {worker_name() for _ in range(10)}
    assert len(names) == 10
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") for name in names)


def test_an_echo_is_a_function_of_the_kind_that_the_pool_calls() -> None:
    async def here(payload: object) -> None:
        """Be awaited."""

    for tool, is_awaited in ((None, True), (here, True), (print, False)):
        task = make_app("redis://here:7/0", QUEUES, tool=tool).tasks[ECHO]
        assert inspect.iscoroutinefunction(task.run) is is_awaited


class Inbox:
    """A real Celery worker in a thread of the test."""

    def __init__(self, url: str) -> None:
        self.runs: list[str] = []
        self.echoes: list[str] = []
        self.app = make_app(url, [*QUEUES, "loopwright.echo.me"], tool=self.runs.append)
        self.is_ready = False
        self._messenger = Messenger(
            self.app, name="me", pool=AioPool, slots=4, on_ready=self._ready, on_echo=self.echoes.append
        )
        self._thread = Thread(target=self._messenger.run, daemon=True)
        self._thread.start()
        eventually(lambda: self.is_ready)

    def _ready(self) -> None:
        self.is_ready = True

    def close(self) -> None:
        """End the worker."""
        self._messenger.stop()
        self._thread.join(30)
        forget_celery()
        self.app.close()


@pytest.fixture
def inbox(red: RedisServer) -> Iterator[Inbox]:
    opened = Inbox(red.url)
    yield opened
    opened.close()


def push(red: RedisServer, queue: str, message: bytes) -> None:
    """Put a message into a queue as it is."""
    import redis

    with redis.Redis(unix_socket_path=str(red.socket)) as client:
        client.lpush(queue, message)


def test_a_message_of_another_kind_is_neither_unpacked_nor_run(
    red: RedisServer, inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pickled body would run code when it is read; so would YAML."""
    trap = tmp_path / "sprung"
    queue = queue_of(new_run_id("acme"))
    for content_type in ("application/x-python-serialize", "application/x-yaml"):
        message: dict[str, Any] = json.loads(envelope("loopwright.tool", queue, "x"))
        message["content-type"], message["content-encoding"] = content_type, "binary"
        message["body"] = b64encode(pickle.dumps((Touch(str(trap)),))).decode()
        message["properties"]["delivery_tag"] = str(uuid.uuid4())
        with caplog.at_level(logging.ERROR):
            push(red, queue, json.dumps(message).encode())
            eventually(lambda: "Refusing to deserialize" in caplog.text)
        caplog.clear()
    push(red, queue, envelope("loopwright.tool", queue, "good"))
    eventually(lambda: inbox.runs == ["good"])
    assert not trap.exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def test_unknown_tasks_and_broken_messages_hinder_nothing(
    red: RedisServer, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_of(new_run_id("acme"))
    push(red, queue, envelope("os.system", queue, "echo"))
    push(red, queue, envelope(WAKE, queue, "r1"))  # a worker of tools knows no runs
    push(red, queue, envelope("loopwright.tool", queue, "good"))
    eventually(lambda: inbox.runs == ["good"])


def test_an_echo_is_heard_when_it_is_taken(red: RedisServer, inbox: Inbox) -> None:
    push(red, "loopwright.echo.me", envelope("loopwright.echo", "loopwright.echo.me", "t1"))
    eventually(lambda: inbox.echoes == ["t1"])


def test_celery_keeps_nothing_in_redis_but_the_queues(red: RedisServer, inbox: Inbox) -> None:
    queue = queue_of(new_run_id("acme"))
    for number in range(50):
        push(red, queue, envelope("loopwright.tool", queue, str(number)))
    eventually(lambda: len(inbox.runs) == 50)
    assert red.command("DBSIZE") == b":0\r\n"


def test_logging_and_standard_output_stay_as_they_are(red: RedisServer, inbox: Inbox) -> None:
    import sys

    assert type(sys.stdout).__module__ != "celery.utils.log"
    assert not any(type(each).__module__.startswith("celery") for each in logging.getLogger().handlers)
