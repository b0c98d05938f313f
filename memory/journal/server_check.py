"""What a Redis server must be set to before it may hold a journal, and how to tell the operator what is not."""

from collections.abc import Mapping
from dataclasses import dataclass

from redis.exceptions import ResponseError

from ...errors import SettingsInvalid
from .contract import Durability
from .wire import Command, Wire

OLDEST = (6, 2)
"""The oldest Redis with all commands that the scripts use."""

_READ = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy", "min-replicas-to-write")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server said about itself; a setting that it keeps to itself is missing.

    Attributes:
        version: Such as `(7, 0, 15)`.
        run_id: Drawn by the server at every start.
        settings: Redis settings by name.
        notes: What could not be verified, for the operator.
    """

    version: tuple[int, ...]
    run_id: str
    settings: Mapping[str, str]
    notes: tuple[str, ...]


async def check_server(wire: Wire, durability: Durability) -> ServerFacts:
    """Ask the server for its settings and refuse those under which the mode's promise would break.

    Raises:
        SettingsInvalid: Names the setting of Redis, its value and the remedy.
    """
    asked: list[Command] = [("INFO",), *(("CONFIG", "GET", name) for name in _READ)]
    info_reply, *replies = await wire.exchange(asked)
    info = _parse_info(info_reply)
    settings = {reply[0].decode(): reply[1].decode() for reply in map(_pairs, replies) if len(reply) >= 2}
    notes: tuple[str, ...] = ()
    if any(isinstance(reply, ResponseError) for reply in replies):
        if "aof_enabled" in info:
            settings.setdefault("appendonly", "yes" if info["aof_enabled"] == "1" else "no")
        if "maxmemory_policy" in info:
            settings.setdefault("maxmemory-policy", info["maxmemory_policy"])
        unknown = ", ".join(name for name in _wanted(durability) if name not in settings)
        if unknown:
            notes = (
                f"the server forbids CONFIG GET, so durability {durability!r} rests on your word that it is set"
                f" for it (not verified: {unknown})",
            )
    facts = ServerFacts(_version(info), info.get("run_id", ""), settings, notes)
    _refuse_unfit(facts, durability, info)
    return facts


def _refuse_unfit(facts: ServerFacts, durability: Durability, info: Mapping[str, str]) -> None:
    if facts.version < OLDEST:
        found = ".".join(map(str, facts.version))
        raise SettingsInvalid("redis_url", f"the server is Redis {found}; at least 6.2 is needed")
    if info.get("redis_mode") == "cluster":
        raise SettingsInvalid("redis_url", "the server is a node of a Redis Cluster; give it a single server")
    for name, good in _wanted(durability).items():
        value = facts.settings.get(name)
        if value is not None and value not in good:
            raise SettingsInvalid(
                "durability" if name in _wanted_by_mode(durability) else "redis_url",
                f"Redis is set to `{name} {value}`, which cannot give {durability!r}: set `{name} {good[0]}` in"
                f" redis.conf (or CONFIG SET {name} {good[0]}){_instead(durability)}",
            )


def _wanted(durability: Durability) -> dict[str, tuple[str, ...]]:
    """Return the settings that must hold, each with its good values, the advised one first."""
    return {"maxmemory-policy": ("noeviction",), **_wanted_by_mode(durability)}


def _wanted_by_mode(durability: Durability) -> dict[str, tuple[str, ...]]:
    if durability == "everysec":
        return {"appendonly": ("yes",), "appendfsync": ("everysec", "always")}
    if durability == "always":
        return {"appendonly": ("yes",), "appendfsync": ("always",), "no-appendfsync-on-rewrite": ("no",)}
    if durability == "replicated":
        return {"min-replicas-to-write": tuple(map(str, range(1, 100)))}
    return {}


def _instead(durability: Durability) -> str:
    return ", or declare a weaker durability" if durability in ("always", "replicated") else ""


def _parse_info(reply: object) -> dict[str, str]:
    if not isinstance(reply, bytes):
        raise SettingsInvalid("redis_url", f"the server does not answer INFO: {reply}")
    return dict(line.partition(":")[::2] for line in reply.decode().splitlines() if ":" in line)


def _pairs(reply: object) -> list[bytes]:
    """Return a CONFIG GET reply as a flat list, whatever the protocol version; an error as an empty one."""
    if isinstance(reply, dict):
        return [part for pair in reply.items() for part in pair]
    return reply if isinstance(reply, list) else []


def _version(info: Mapping[str, str]) -> tuple[int, ...]:
    return tuple(int(part) for part in info.get("redis_version", "0").split(".") if part.isdigit())
