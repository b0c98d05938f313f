"""Webhooks leave at least once, under one id each, whatever happens to those who send them."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

from loopwright.memory.journal.ids import SHARDS

from .conftest import Make
from .figures import record
from .load import body, settle
from .processes import eventually
from .world import World, size

FAILS = 0.3
TAKES_S = 0.05


class Receiver(ThreadingHTTPServer):
    """Takes webhooks slowly, refuses some of them at random, and remembers all."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.draw = random.Random(31)
        self.attempts: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.taken: defaultdict[str, int] = defaultdict(int)


class Answer(BaseHTTPRequestHandler):
    """One attempt."""

    def do_POST(self) -> None:
        server: Receiver = self.server  # type: ignore[assignment]
        size_bytes = int(self.headers["content-length"])
        said = self.rfile.read(size_bytes)
        if len(said) < size_bytes:  # its sender was killed while it wrote
            return
        message = self.headers["webhook-id"]
        fails = server.draw.random() < FAILS
        server.attempts[json.loads(said)["data"]["id"]].append((message, said))
        time.sleep(TAKES_S)
        server.taken[message] += not fails
        self.send_response(500 if fails else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_every_webhook_arrives_under_one_id_though_its_senders_are_killed(make_world: Make) -> None:
    world = make_world()
    count, kills = size(500, 60), size(20, 4)
    with receiving() as receiver:
        port = receiver.server_address[1]
        allow = {"LOOPWRIGHT_WEBHOOK_ALLOW": f"127.0.0.1:{port}"}
        world.start_api(**allow)
        accepted = {}
        for number in range(count):
            wanted = body(f"hook{number}", "look") | {"webhook": f"http://127.0.0.1:{port}/hook"}
            answer = world.http.post("/v1/runs", json=wanted)
            assert answer.status_code == 202, answer.text
            accepted[answer.json()["id"]] = f"hook{number}"
        for nth in range(kills):
            worker = world.start_worker(**allow)
            goal = nth * count // kills
            eventually(lambda goal=goal: len(receiver.attempts) > goal, 60, 0.01, "webhooks are sent")  # type: ignore[misc]
            worker.kill()
            pass_time(world)
        world.start_worker(**allow)
        settle(world, accepted)
        eventually(lambda: pass_time(world) and len(receiver.taken) >= count and all(receiver.taken.values()), 120, 0.3)
    ids = {run: {message for message, _ in tried} for run, tried in receiver.attempts.items()}
    bodies = {run: {said for _, said in tried} for run, tried in receiver.attempts.items()}
    record(
        "T31 webhooks", runs=count, kills=kills, attempts=sum(map(len, receiver.attempts.values())),
        taken_twice=sum(times > 1 for times in receiver.taken.values()),
    )  # fmt: skip
    assert set(ids) == set(accepted)
    assert all(len(each) == 1 for each in ids.values())
    assert all(len(each) == 1 for each in bodies.values()), "an attempt says what the one before said"


def pass_time(world: World) -> bool:
    """Let everything that waits for its next attempt be due: the hold of a dead sender, the pause after a refusal."""
    with redis.Redis.from_url(world.redis_url) as client:
        for shard in range(SHARDS):
            key = f"{{s{shard:02d}}}:hooks"
            if waiting := client.zrange(key, 0, -1):
                client.zadd(key, dict.fromkeys(waiting, 1), xx=True)
    return True
