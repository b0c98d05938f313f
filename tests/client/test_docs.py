"""The page about the client is run, word for word, against a server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.testing import answer, call

from ..cli.served import Served, served
from ..inference.fake_server import FakeServer, Reply, Seen, completes, says

ROOT = Path(__file__).parents[2]

SHOP = """
from loopwright import Agent, tool

@tool(effect="read")
def order_status(order_id: str) -> str:
    "Look an order up."
    return "shipped"

@tool(approval=True)
def refund_order(order_id: str, cents: int) -> str:
    "Pay money back."
    return "refunded"

shop = Agent(name="shop", instructions="Help.", tools=[order_status, refund_order])
"""


def clerk(seen: Seen) -> Reply:
    """Look up or pay back, then say what came of it."""
    messages = seen.body["messages"]
    if messages[0]["role"] != "system":
        return completes("{}")
    if len(messages) > 2:
        return says(answer("It is shipped."))
    if "refund" in messages[1]["content"]:
        return says(call("refund_order", order_id="A-1042", cents=1000))
    return says(call("order_status", order_id="A-1042"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "shop.py").write_text(SHOP)
    with FakeServer(clerk) as model, served(tmp_path, ["shop.py"], "--model-url", model.url, "--model", "m") as running:
        yield running


def test_the_page_on_the_client_is_true(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_URL", server.url)
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)
    assert len(blocks) >= 8
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/client.md, block {number}", "exec"), names)
    names["client"].close()


def test_what_the_readme_shows_of_the_client_is_true(
    server: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_URL", server.url)
    (_, remote) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(remote, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == "It is shipped.\n"
