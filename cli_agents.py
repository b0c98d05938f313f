"""The command `agents`: what files define, or what a server knows."""

import json
from typing import TYPE_CHECKING

from .cli_remote import Key, Url, ask
from .cli_shared import AsJson, Sources, load_agents, print_json

if TYPE_CHECKING:
    from .client import Client


def agents(sources: Sources = None, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List agents with their tools: of files, folders or modules; without any, of the server."""
    if not sources:
        ask(url, key, lambda client: _of_server(client, as_json))
        return
    for source in sources:
        for agent in load_agents(source):
            _print(agent.name, agent.hash, {tool.name: tool.effect for tool in agent.tools}, as_json)


def _of_server(client: "Client", as_json: bool) -> None:
    for agent in client.agents.list():
        _print(agent.name, agent.hash, {tool.name: tool.effect for tool in agent.tools}, as_json)


def _print(name: str, digest: str, tools: dict[str, str], as_json: bool) -> None:
    from .cli_render import printable

    if as_json:
        print_json(json.dumps({"name": name, "hash": digest, "tools": tools}))
        return
    listed = ", ".join(f"{tool} ({effect})" for tool, effect in tools.items()) or "no tools"
    print(printable(f"{name}  {digest[:12]}  {listed}"))
