"""The transitions of the Redis journal: short Lua scripts, each atomic, each safe to send twice.

Keys of shard NN (00 to 63, the hash of the tenant; it stands in every run id):

| key                         | type   | holds                                                      | lives       |
|-----------------------------|--------|------------------------------------------------------------|-------------|
| {sNN}:run:<id>              | hash   | tenant agent agent_hash status reason step epoch token seq | retention   |
|                             |        | lease_end cancel created updated nonce; where it applies   |             |
|                             |        | priority webhook thread said turn archived ready           |             |
| {sNN}:run:<id>:j            | stream | the journal: one entry per event, its JSON in field `e`    | retention   |
| {sNN}:run:<id>:a            | hash   | artifact id -> text                                        | retention   |
| {sNN}:run:<id>:c            | hash   | calls that run on other workers (`remote`)                 | until final |
| {sNN}:due                   | zset   | run id -> millisecond at which somebody must look          | until final |
| {sNN}:ended                 | zset   | finished run that does not expire by itself -> its end     | until gone  |
| {sNN}:runs:<tenant>         | zset   | run id -> created                                          | retention   |
| {sNN}:waiting:<tenant>      | zset   | run that waits for a person -> created                     | while so    |
| {sNN}:idem:<tenant>:<hash>  | string | run id, fingerprint of the request                         | 24 h        |
| {sNN}:thread:<tenant>:<id>  | hash   | created updated metadata; run: who has it; gone: deleted   | retention   |
| {sNN}:thread:<tenant>:<id>:m| stream | messages: role, run, json                                  | retention   |
| {sNN}:thread:<tenant>:<id>:q| list   | runs that wait for their turn                              | while so    |
| {sNN}:threads:<tenant>      | zset   | thread -> updated                                          | retention   |
| {sNN}:outbox                | stream | webhooks owed: run tenant status reason url at             | until sent  |

Moments are milliseconds since 1970 by the server's clock. `token` is random, drawn with every claim; `seq` counts
the batches written under one lease, so a batch that is sent again after a lost answer is recognised, and a server
that lost batches is noticed. `nonce` is drawn with every create, for the same reason. `said` is the task as JSON, for
the thread's messages; `turn` stands while a run waits for its turn in a thread, and is the moment before which it is
not due. Scripts derive the keys of a run from the shard's tag in KEYS[1]: all of them live in one slot. Replies hold
codes, never text of users.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from ...errors import Misuse
from . import lua_life, lua_lists

_PRELUDE = """
local final = {succeeded = true, failed = true, cancelled = true, expired = true}
local function digits(number) return string.format('%.0f', number) end
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

_THREAD_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True)
class Script:
    """A Lua script and the SHA-1 by which the server knows it."""

    name: str
    body: str

    @property
    def text(self) -> str:
        """What the server is given."""
        return _PRELUDE + self.body

    @cached_property
    def sha(self) -> str:
        """The server's name for the script."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


CREATE = Script("create", lua_life.TURNS + lua_life.CREATE)
CLAIM = Script("claim", lua_life.CLAIM)
WRITE = Script("write", lua_life.TURNS + lua_life.WRITE)
RELEASE = Script("release", lua_life.RELEASE)
CANCEL = Script("cancel", lua_life.CANCEL)
DUE = Script("due", lua_lists.DUE)
LIST = Script("list", lua_lists.LIST)
WAITING = Script("waiting", lua_lists.WAITING)
SNAPSHOT = Script("snapshot", lua_lists.SNAPSHOT)
DELETE = Script("delete", lua_lists.DELETE)

ALL = (CREATE, CLAIM, WRITE, RELEASE, DUE, CANCEL, LIST, WAITING, SNAPSHOT, DELETE)

RECORD_FIELDS = ("tenant", "agent", "status", "reason", "epoch", "step", "created", "updated", "archived")
"""Fields of the run hash that make a `RunRecord`, in the order in which `LIST` and `SNAPSHOT` return them."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one run, derived from its shard and id alone."""

    run: str
    journal: str
    artifacts: str
    due: str


def keys_of(shard: int, run_id: str) -> Keys:
    """Return the keys of a run."""
    run = f"{{s{shard:02d}}}:run:{run_id}"
    return Keys(run, f"{run}:j", f"{run}:a", due_key(shard))


def due_key(shard: int) -> str:
    """Return the key of a shard's due runs."""
    return f"{{s{shard:02d}}}:due"


def ended_key(shard: int) -> str:
    """Return the key of a shard's finished runs."""
    return f"{{s{shard:02d}}}:ended"


def runs_key(shard: int, tenant: str) -> str:
    """Return the key of a tenant's list of runs."""
    return f"{{s{shard:02d}}}:runs:{tenant}"


def waiting_key(shard: int, tenant: str) -> str:
    """Return the key of a tenant's waiting runs."""
    return f"{{s{shard:02d}}}:waiting:{tenant}"


def threads_key(shard: int, tenant: str) -> str:
    """Return the key of a tenant's list of threads."""
    return f"{{s{shard:02d}}}:threads:{tenant}"


def thread_key(shard: int, tenant: str, thread_id: str) -> str:
    """Return the key of a thread. Raises Misuse when the id or the tenant could lead to another key."""
    if not _THREAD_ID.fullmatch(thread_id):
        raise Misuse(f"thread id {thread_id[:40]!r}: 1 to 128 letters, digits, `_`, `.` or `-` are possible")
    if ":" in tenant:
        raise Misuse(f"tenant {tenant[:40]!r} has a colon, so it cannot have threads")
    return f"{{s{shard:02d}}}:thread:{tenant}:{thread_id}"
