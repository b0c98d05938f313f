"""CPU seconds per streamed token: our endpoint against the openai SDK, on the same server in a process of its own.

    python benchmarks/bench_stream.py [--tokens 1000] [--rounds 5] [--concurrent 1 16]

The server sends vLLM's events at a steady pace, one token per event and per segment, as a model does; a second table
sends them as fast as it can, as a busy client sees them. Rounds of both clients alternate, medians are shown. The SDK
yields parsed chunks; ours yields deltas behind the stream guard, so it does more.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

HEAD = '{"id":"chatcmpl-9b2f","object":"chat.completion.chunk","created":1795353883,"model":"m","choices":'
WORDS = (
    "the",
    " agent",
    " reads",
    " a",
    " page",
    " then",
    " asks",
    " for",
    " more",
    ",",
    " and",
    " writes",
    ' \\"it\\"',
)

Client = Callable[[], Awaitable[int]]


def events(tokens: int) -> list[bytes]:
    """Return a completion's events, one chunk of the transfer encoding each, as vLLM 0.32 writes them."""
    tail = '"logprobs":null,"finish_reason":null,"token_ids":null}]}'
    said = [f'[{{"index":0,"delta":{{"content":"{WORDS[at * 7 % 13]}"}},{tail}' for at in range(tokens)]
    stop = '[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null}]}'
    counted = f'[],"usage":{{"prompt_tokens":7,"total_tokens":{tokens + 7},"completion_tokens":{tokens}}}}}'
    data = [f"data: {HEAD}{each}\n\n".encode() for each in (*said, stop, counted)] + [b"data: [DONE]\n\n"]
    return [b"%x\r\n%b\r\n" % (len(each), each) for each in data]


async def serve(port: int, tokens: int, pause_s: float) -> None:
    """Answer every request with the same stream, `pause_s` between two tokens."""
    chunks = events(tokens)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                writer.write(head)
                for chunk in chunks:
                    writer.write(chunk)
                    if pause_s:
                        await asyncio.sleep(pause_s)
                writer.write(b"0\r\n\r\n")
                await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


@contextlib.contextmanager
def server_process(tokens: int, pause_s: float) -> Iterator[str]:
    """Run the server in a process of its own; yield its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(port), str(tokens), str(pause_s)])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def ours(url: str):  # type: ignore[no-untyped-def]
    """Yield our endpoint as a client."""
    from loopwright.inference.endpoint import CompletionRequest, Message
    from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint

    endpoint = OpenAICompatibleEndpoint(url, "m", constraint_mode="none", context_tokens=8192)
    request = CompletionRequest((Message("user", "hi"),))

    async def once() -> int:
        return sum([len(delta.text) async for delta in endpoint.stream(request)])

    yield once
    await endpoint.aclose()


@contextlib.asynccontextmanager
async def openai_sdk(url: str):  # type: ignore[no-untyped-def]
    """Yield the SDK's asynchronous client as a client."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none")

    async def once() -> int:
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
            temperature=0.0,
        )
        return sum([len(chunk.choices[0].delta.content or "") async for chunk in stream if chunk.choices])

    yield once
    await client.close()


async def cpu_per_token(client: Client, tokens: int, concurrent: int) -> float:
    """Return the CPU microseconds of this process per token."""
    started = time.process_time()
    counts = await asyncio.gather(*(client() for _ in range(concurrent)))
    spent = time.process_time() - started
    assert len(set(counts)) == 1 and counts[0] > tokens, counts
    return spent / (tokens * concurrent) * 1e6


async def race(tokens: int, rounds: int, concurrent: int, pause_s: float) -> dict[str, list[float]]:
    """Return the CPU microseconds per token of each client and round; both have run once before."""
    results: dict[str, list[float]] = {"loopwright": [], "openai SDK": []}
    with server_process(tokens, pause_s) as url:
        async with ours(url) as first, openai_sdk(url) as second:
            clients = {"loopwright": first, "openai SDK": second}
            for client in clients.values():
                await client()
            for _ in range(rounds):
                for name, client in clients.items():
                    results[name].append(await cpu_per_token(client, tokens, concurrent))
    return results


def main() -> None:
    """Print one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrent", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    rows = []
    for pace, pause_s in (("1 ms per token", 0.001), ("unpaced", 0.0)):
        for concurrent in options.concurrent:
            times = asyncio.run(race(options.tokens, options.rounds, concurrent, pause_s))
            medians = {name: statistics.median(each) for name, each in times.items()}
            rows.append({"server": pace, "streams": concurrent, "us_per_token": medians, "rounds": times})
    if options.json:
        print(json.dumps(rows))
        return
    print(f"CPU microseconds per streamed token, median of {options.rounds}, {options.tokens} tokens per stream")
    print(f"{'server':<16}{'streams':>8}{'loopwright':>12}{'openai SDK':>12}{'ratio':>8}")
    for row in rows:
        own, peer = row["us_per_token"].values()
        print(f"{row['server']:<16}{row['streams']:>8}{own:>12.1f}{peer:>12.1f}{peer / own:>7.1f}x")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
    else:
        main()
