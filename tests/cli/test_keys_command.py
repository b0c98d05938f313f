"""`loopwright keys`, as a person or a script uses it, on an embedded Redis."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from loopwright.cli_keys import keys
from loopwright.memory.client import make_client
from loopwright.memory.key_record import KeyRecord
from loopwright.memory.keys import Keys
from loopwright.memory.pepper import Pepper
from loopwright.memory.server import EmbeddedRedis


class Shell:
    """Runs commands on one data folder whose Redis stays up, as beside `loopwright serve`."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server

    def run(self, *words: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(keys, [*words, "--data-dir", str(self.server.data_dir)])

    def verify(self, token: str) -> KeyRecord | None:
        """Ask as an API process would whether a key works."""

        async def ask() -> KeyRecord | None:
            client = make_client(self.server.url)
            try:
                return await Keys(client, Pepper(None, self.server.data_dir)).verify(token)
            finally:
                await client.aclose()

        return asyncio.run(ask())


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    with EmbeddedRedis(tmp_path / "data") as server:
        yield Shell(server)


def test_a_key_is_printed_alone_and_works(shell: Shell) -> None:
    made = shell.run("create", "--tenant", "acme", "--scopes", "runs,approve", "--name", "ci", "--expires", "90d")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    record = shell.verify(token)
    assert record is not None
    assert (record.tenant, record.scopes, record.name) == ("acme", frozenset({"runs", "approve"}), "ci")
    assert record.expires_ms is not None and record.expires_ms - record.created_ms == 90 * 86_400_000
    assert record.id in made.stderr and token not in made.stderr


def test_a_key_is_revoked_by_its_id_however_it_is_written(shell: Shell) -> None:
    tokens = [shell.run("create").stdout.strip() for _ in range(3)]
    for token, written in zip(tokens, (tokens[0][3:19], tokens[1][:19], tokens[2]), strict=True):
        assert shell.verify(token)
        revoked = shell.run("revoke", written)
        assert revoked.exit_code == 0 and token.partition(".")[2] not in revoked.output
        assert shell.verify(token) is None


def test_the_list_shows_state_and_use_and_no_secret(shell: Shell) -> None:
    assert "without a key" in shell.run("list").stderr
    tokens = [
        shell.run("create", "--tenant", "acme").stdout.strip(),
        shell.run("create", "--tenant", "beta", "--expires", "1h", "--rate", "5", "--burst", "9").stdout.strip(),
    ]
    shell.verify(tokens[0])
    shell.run("revoke", tokens[1])
    shown = shell.run("list").stdout.splitlines()
    assert shown[0].split() == ["id", "tenant", "scopes", "state", "created", "last", "used", "name"]
    assert " works " in shown[1] and "never" not in shown[1]
    assert " revoked " in shown[2] and "never" in shown[2]
    rows = [json.loads(line) for line in shell.run("list", "--tenant", "beta", "--json").stdout.splitlines()]
    assert [(row["tenant"], row["rate"], row["burst"], row["scopes"]) for row in rows] == [("beta", 5, 9, ["runs"])]
    assert rows[0]["revoked_at"] and rows[0]["used_at"] is None
    everything = "".join(shown) + json.dumps(rows)
    assert not [token for token in tokens if token.partition(".")[2] in everything]


def test_json_holds_the_key_and_what_is_known_of_it(shell: Shell) -> None:
    row = json.loads(shell.run("create", "--json").stdout)
    record = shell.verify(row["key"])
    assert record is not None and row["id"] == record.id


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("create", "--scopes", "runs,root"), "root"),
        (("create", "--scopes", ","), "runs, read, approve, admin"),
        (("create", "--expires", "soon"), "90d"),
        (("create", "--expires", "0d"), "90d"),
        (("create", "--tenant", "a b"), "tenant"),
        (("create", "--rate", "0"), "rate"),
        (("revoke", "f" * 16), "no key"),
    ],
)
def test_what_cannot_be_done_says_why_and_ends_with_two(shell: Shell, words: tuple[str, ...], named: str) -> None:
    done = shell.run(*words)
    assert done.exit_code == 2
    assert named in done.stderr and "Traceback" not in done.output
    assert shell.run("list").stdout == ""
