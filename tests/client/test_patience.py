"""A call is sent again after a lost answer, an overload or a restart, and never makes a second run by it."""

import socket
import threading
from typing import Any

import pytest

from loopwright.client import Client
from loopwright.client.call import Call, Lost, Pause, Reply
from loopwright.client.exchange import Send, exchange
from loopwright.client.trouble import Patience
from loopwright.errors import (
    AgentNotFound,
    ApiFailed,
    ApiRefused,
    ApiUnavailable,
    LoopwrightError,
    Misuse,
    RateLimited,
    RunNotFound,
    SettingsInvalid,
    StoreFull,
    TaskInvalid,
)

from ..inference.fake_server import Reply as Page
from ..inference.fake_server import nobody_listens
from .api_script import JSON, ScriptedApi, drops, fails, gives, run
from .conftest import Do


def test_a_lost_answer_is_asked_for_again_under_the_same_key(do: Do) -> None:
    with ScriptedApi(drops(), drops(), gives(run("r7"), 202)) as api:
        assert do(api.url, "submit", "desk", "go").id == "r7"
    keys = [seen.headers["idempotency-key"] for seen in api.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_every_submission_has_a_key_of_its_own(do: Do) -> None:
    with ScriptedApi(gives(run())) as api:
        do(api.url, "submit", "desk", "go")
        do(api.url, "submit", "desk", "go")
        do(api.url, "submit", "desk", "go", idempotency_key="mine")
    keys = [seen.headers["idempotency-key"] for seen in api.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_or_restarting_server_is_asked_again(status: int, do: Do) -> None:
    with ScriptedApi(fails(status, "store_full"), gives(run())) as api:
        assert do(api.url, "submit", "desk", "go").id == "r1"
    assert len(api.requests) == 2


def test_a_server_that_starts_late_is_waited_for(do: Do) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"

        def answer_once() -> None:
            held.listen()
            connection, _ = held.accept()
            with connection:
                connection.settimeout(10)
                while not connection.recv(65536).endswith(b"}"):
                    pass
                connection.sendall(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

        starting = threading.Timer(0.3, answer_once)
        starting.start()
        with pytest.raises(ApiRefused, match="no answer of a Loopwright server"):
            do(url, "submit", "desk", "go")
        starting.join(10)


def test_a_client_without_patience_tries_once(do: Do) -> None:
    with nobody_listens() as url, pytest.raises(ApiUnavailable) as caught:
        do(url.removesuffix("/v1"), "get", "r1", patience_s=0.0)
    assert "cannot be reached" in str(caught.value)
    assert "is the server running?" in caught.value.__notes__[0]


def test_a_refusal_is_not_repeated(do: Do) -> None:
    with ScriptedApi(fails(409, "idempotency_conflict")) as api, pytest.raises(LoopwrightError):
        do(api.url, "submit", "desk", "go")
    assert len(api.requests) == 1


def test_what_would_do_more_when_sent_twice_is_sent_once() -> None:
    with ScriptedApi(drops()) as api, Client(api.url) as client, pytest.raises(ApiUnavailable):
        client.webhooks.rotate()
    assert len(api.requests) == 1


def test_a_refusal_that_says_so_itself_is_worth_another_try(do: Do) -> None:
    busy = fails(409, "run_busy", facts={"problem": "held", "run_id": "r1"}, retryable=True)
    with ScriptedApi(busy, gives(run(status="cancelled"))) as api:
        assert do(api.url, "cancel", "r1").status == "cancelled"


def drive(outcomes: list[Reply | Lost], patience: Patience) -> list[float]:
    """Return the pauses of an exchange that meets these outcomes, by a clock that only pauses move."""
    clock = [100.0]
    pauses: list[float] = []
    moves = exchange(Call("GET", "/x", bytes), patience, now=lambda: clock[0])
    outcome: Any = None
    try:
        while True:
            move = moves.send(outcome)
            if isinstance(move, Pause):
                pauses.append(move.seconds)
                clock[0] += move.seconds
                outcome = None
            else:
                assert isinstance(move, Send)
                outcome = outcomes.pop(0)
    except StopIteration:
        return pauses


GOOD = Reply(200, {}, b"")


def test_pauses_grow_to_a_bound_with_jitter() -> None:
    patience = Patience(1000.0, first_s=0.2, longest_s=5.0, random=lambda: 1.0)
    assert drive([Lost("x")] * 7 + [GOOD], patience) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    least = Patience(1000.0, first_s=0.2, longest_s=5.0, random=lambda: 0.0)
    assert drive([Lost("x")] * 2 + [GOOD], least) == [0.1, 0.2]


def test_what_the_server_asks_for_is_waited() -> None:
    busy = Reply(429, {"retry-after": "7"}, b"")
    assert drive([busy, GOOD], Patience(30.0)) == [7.0]


def test_nobody_waits_longer_than_the_patience_lasts() -> None:
    patience = Patience(30.0, random=lambda: 1.0)
    with pytest.raises(ApiUnavailable) as caught:
        drive([Reply(503, {"retry-after": "31"}, b"")], patience)
    assert caught.value.retry_after_s == 31.0
    outcomes: list[Reply | Lost] = [Lost("x")] * 100
    with pytest.raises(ApiUnavailable):
        drive(outcomes, patience)
    assert 88 <= len(outcomes) <= 92


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (fails(404, "run_not_found", facts={"run_id": "r9"}), RunNotFound, "there is no run 'r9'"),
        (fails(404, "agent_not_found", facts={"agent": "x", "known": "desk"}), AgentNotFound, "known agents: desk"),
        (fails(404, "run_not_found", "no run"), ApiRefused, "no run"),
        (fails(404, "run_not_found", "other facts", facts={"x": 1}), ApiRefused, "other facts"),
        (fails(418, "teapot", "I am one"), ApiRefused, "I am one"),
        (fails(500, "internal_error", "oh"), ApiFailed, "oh"),
        (fails(429, "rate_limited", facts={"problem": "slow down", "retry_after_s": 2.5}), RateLimited, "slow down"),
        (fails(503, "store_full", facts={"problem": "full"}), StoreFull, "full"),
        (fails(503, "unheard_of", "later"), ApiUnavailable, "later"),
        (Page((b"<h1>Bad\x1b gateway</h1>",), 404, {"content-type": "text/html"}), ApiRefused, "answered 404"),
        (Page((), 307, {"location": "https://elsewhere/"}), ApiRefused, "sends on to https://elsewhere/"),
        (Page((b"[1]",), 400, JSON), ApiRefused, "answered 400"),
        (gives({"id": 5}), ApiFailed, "cannot be read"),
        (Page((b"hello",), 200, JSON), ApiFailed, "cannot be read"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_success_is_one_of_our_errors(reply: Page, kind: type[Exception], says: str) -> None:
    with ScriptedApi(reply) as api, Client(api.url, patience_s=0.0) as client, pytest.raises(kind) as caught:
        client.get("r1")
    assert type(caught.value) is kind
    assert says in str(caught.value)


def test_what_to_do_about_a_problem_is_noted_on_the_error() -> None:
    missing = fails(404, "run_not_found", facts={"run_id": "r9"}, remedy="Look again.")
    with ScriptedApi(missing) as api, Client(api.url) as client, pytest.raises(RunNotFound) as caught:
        client.get("r9")
    assert caught.value.__notes__ == ["Look again."]


def test_a_key_is_shown_to_the_server_and_to_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedApi(gives(run())) as api, Client(api.url, "lw_1.geheim") as client:
        client.get("r1")
        shown = repr(client) + repr(client._driver.address) + repr(vars(client))
    assert api.requests[0].headers["authorization"] == "Bearer lw_1.geheim"
    assert "geheim" not in shown
    with pytest.raises(ApiUnavailable) as caught, Client("http://127.0.0.1:9", "lw_1.geheim", patience_s=0) as client:
        client.get("r1")
    assert "geheim" not in repr(caught.value) + str(caught.value) + capsys.readouterr().err


def test_the_environment_names_server_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedApi(gives(run())) as api:
        monkeypatch.setenv("LOOPWRIGHT_URL", f"{api.url}/v1/")
        monkeypatch.setenv("LOOPWRIGHT_KEY", "lw_2.other")
        with Client() as client:
            client.get("r1")
    assert api.requests[0].path == "/v1/runs/r1"
    assert api.requests[0].headers["authorization"] == "Bearer lw_2.other"


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://", "http://user:geheim@host", "http://host:port"])
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        Client(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("key", ["lw_1.x\r\nHost: evil", "lw 1", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        Client("http://127.0.0.1:9", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("task", [float("nan"), object(), {1: {2, 3}}])
def test_a_task_that_is_no_json_never_leaves(task: Any, do: Do) -> None:
    with ScriptedApi(gives(run())) as api, pytest.raises(TaskInvalid):
        do(api.url, "submit", "desk", task)
    assert api.requests == []


def test_a_closed_client_says_so(do: Do) -> None:
    client = Client("http://127.0.0.1:9")
    client.close()
    with pytest.raises(Misuse, match="closed"):
        client.get("r1")
    with pytest.raises(Misuse, match="closed"):
        next(client.events("r1"))


@pytest.mark.parametrize("run_id", ["../keys", "a/b", "a?b#c", "ü", "%2e%2e"])
def test_an_id_stays_one_part_of_the_path(run_id: str) -> None:
    with ScriptedApi(gives(run())) as api, Client(api.url) as client:
        client.get(run_id)
    assert api.requests[0].path.startswith("/v1/runs/")
    assert api.requests[0].path.count("/") == 3
    assert "?" not in api.requests[0].path
