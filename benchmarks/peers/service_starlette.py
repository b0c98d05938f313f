"""Streams of events in the usual construction: FastAPI's EventSourceResponse around a generator that waits."""

import asyncio
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

api = FastAPI()
news = asyncio.Event()


@api.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterator[ServerSentEvent]:
    """Say hello, then wait."""
    yield ServerSentEvent(raw_data="hello", id="1")
    await news.wait()


if __name__ == "__main__":
    uvicorn.run(api, host="127.0.0.1", port=0, access_log=False, loop="uvloop", http="httptools")
