"""What a server honours is found by trying, once, because many servers ignore what they do not know."""

import asyncio
import json
from typing import Any

import pytest

from loopwright.errors import EndpointUnavailable
from loopwright.inference.abilities import FORCED
from loopwright.inference.constraints.decision import DecisionConstraint, ToolShape
from loopwright.inference.constraints.request import Mode, max_bytes
from loopwright.inference.endpoint import CompletionRequest, Message
from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint
from loopwright.inference.probe import ProbeReport, probe
from loopwright.inference.retry import RetryPolicy
from loopwright.tests.inference.fake_server import FakeServer, Reply, Script, Seen, answers, completes, fails, says

CONSTRAINT = DecisionConstraint((ToolShape("look", '{"type":"object","properties":{}}'),), None, thought_chars=20)
REQUEST = CompletionRequest((Message("user", "hi"),), CONSTRAINT)
FORCED_JSON = json.dumps({"probe": FORCED}, separators=(",", ":"))


def server_that_honours(*modes: Mode, otherwise: Reply | None = None, spaced: bool = False) -> Script:
    """Return the script of a server that honours these modes and ignores, or refuses, the others."""

    def reply(seen: Seen) -> Reply:
        body = seen.body
        if body.get("stream"):
            return says("ok")
        used = body.get("structured_outputs", {})
        asked: Mode = "vllm_grammar" if "grammar" in used else "vllm_json" if "json" in used else "response_format"
        if asked not in modes:
            return otherwise or completes("OK.")
        text = FORCED_JSON.replace(":", ": ") if spaced else FORCED_JSON
        return completes(FORCED + text if asked == "vllm_grammar" else text)

    return reply


def use(server: FakeServer, times: int = 1) -> OpenAICompatibleEndpoint:
    """Stream some completions at once through a new endpoint in mode auto."""

    async def main() -> OpenAICompatibleEndpoint:
        async def nap(_: float) -> None:
            return None

        endpoint = OpenAICompatibleEndpoint(server.url, "m", retry=RetryPolicy(attempts=2), sleep=nap)

        async def once() -> None:
            async for _ in endpoint.stream(REQUEST):
                pass

        try:
            await asyncio.gather(*(once() for _ in range(times)))
        finally:
            await endpoint.aclose()
        return endpoint

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("modes", "chosen", "field"),
    [
        (("vllm_grammar", "vllm_json", "response_format"), "vllm_grammar", "structured_outputs"),
        (("response_format",), "response_format", "response_format"),
        (("vllm_json",), "none", None),
        ((), "none", None),
    ],
)
@pytest.mark.parametrize("otherwise", [completes("OK."), fails(400, "unknown field"), fails(500), completes("")])
def test_auto_takes_the_best_mode_that_is_honoured(
    modes: tuple[Mode, ...], chosen: Mode, field: str | None, otherwise: Reply
) -> None:
    with FakeServer(server_that_honours(*modes, otherwise=otherwise)) as server:
        assert use(server).mode == chosen
        sent = server.chats[-1].body
    assert {"structured_outputs", "response_format"} & set(sent) == ({field} if field else set())


def test_spaces_in_forced_json_do_not_matter() -> None:
    with FakeServer(server_that_honours("response_format", spaced=True)) as server:
        assert use(server).mode == "response_format"


def test_the_server_is_tried_once_however_many_start_together() -> None:
    with FakeServer(server_that_honours("vllm_grammar")) as server:
        use(server, times=8)
        assert sum(not each.body.get("stream") for each in server.chats) == 1
        assert sum(bool(each.body.get("stream")) for each in server.chats) == 8


def test_an_overloaded_server_proves_nothing_and_is_tried_again_at_the_next_use() -> None:
    with FakeServer(fails(503), server_that_honours("vllm_grammar")) as server:
        assert use(server).mode == "vllm_grammar"


def test_a_server_that_stays_away_is_an_unavailable_endpoint() -> None:
    with FakeServer(fails(503)) as server, pytest.raises(EndpointUnavailable):
        use(server)


def test_a_constraint_bounds_the_tokens_by_its_longest_text() -> None:
    with FakeServer(server_that_honours("vllm_grammar")) as server:
        use(server)
        assert server.chats[-1].body["max_tokens"] == max_bytes(CONSTRAINT)


def examine(server: FakeServer, key: str = "k") -> ProbeReport:
    """Probe a server."""

    async def main() -> ProbeReport:
        endpoint = OpenAICompatibleEndpoint(server.url, "m", api_key=key)
        try:
            return await probe(endpoint)
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def test_a_probe_reports_what_a_good_server_does() -> None:
    with FakeServer(server_that_honours("vllm_grammar", "vllm_json", "response_format")) as server:
        report = examine(server)
    assert report.is_usable
    assert report.problems == []
    assert (report.models, report.has_model, report.context_tokens, report.mode) == (["m"], True, 4096, "vllm_grammar")
    assert report.honours == {"vllm_grammar": True, "vllm_json": True, "response_format": True}
    assert (report.is_compact, report.reports_usage, report.reports_cached) == (True, True, True)
    assert report.first_token_s is not None


def test_a_probe_notices_whitespace_and_what_is_ignored() -> None:
    with FakeServer(server_that_honours("response_format", spaced=True)) as server:
        report = examine(server)
    assert report.honours == {"vllm_grammar": False, "vllm_json": False, "response_format": True}
    assert (report.mode, report.is_compact) == ("response_format", False)


@pytest.mark.parametrize(
    "models",
    [fails(401, "Incorrect API key: sk-secret-77"), answers({"data": [{"id": "other"}]}), answers([]), fails(500)],
)
def test_a_probe_of_a_server_without_the_model_says_so_and_raises_nothing(models: Reply) -> None:
    with FakeServer(server_that_honours(), models=models) as server:
        report = examine(server, key="sk-secret-77")
    assert not report.is_usable or not report.has_model
    assert report.problems
    assert "sk-secret-77" not in repr(report)


def test_first_model_is_the_first_one_listed() -> None:
    async def ask(url: str) -> Any:
        endpoint = OpenAICompatibleEndpoint(url, "")
        try:
            return await endpoint.first_model()
        finally:
            await endpoint.aclose()

    with FakeServer(says("a")) as server:
        assert asyncio.run(ask(server.url)) == "m"
