"""Reading on in an artifact: pages that meet without gap or overlap."""

import asyncio
import re

import pytest

from loopwright.errors import ToolError
from loopwright.tools import Context
from loopwright.tools.builtin import read_artifact
from loopwright.tools.builtin.artifacts import PAGE

TEXT = "".join(f"line {number}\n" for number in range(1_500))


async def _artifact(artifact_id: str) -> str | None:
    return {"a1": TEXT, "short": "all of it", "empty": ""}.get(artifact_id)


def _read(artifact_id: str, offset: int = 0) -> str:
    return asyncio.run(read_artifact(artifact_id, offset, context=Context(on_read_artifact=_artifact)))


def test_pages_follow_each_other_to_the_end() -> None:
    text, offset = "", 0
    for _ in range(20):
        page, _, where = _read("a1", offset).rpartition("\n[")
        text += page
        following = re.search(r"next page: offset (\d+)\]", where)
        if following is None:
            break
        offset = int(following[1])
    assert text == TEXT
    assert offset // PAGE == len(TEXT) // PAGE


def test_a_short_artifact_is_one_page() -> None:
    assert _read("short") == "all of it\n[characters 0 to 9 of 9; end]"
    assert _read("empty") == "\n[characters 0 to 0 of 0; end]"


@pytest.mark.parametrize(
    ("artifact_id", "offset", "message"),
    [
        ("zz", 0, "no artifact 'zz'"),
        ("x" * 1_000_000, 0, "at most 200 characters"),
        ("a1", -1, "between 0 and"),
        ("a1", 10**30, "between 0 and"),
    ],
)
def test_what_cannot_be_read_is_named(artifact_id: str, offset: int, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        _read(artifact_id, offset)
    assert message in str(caught.value)


def test_the_model_gives_id_and_offset_only() -> None:
    assert list(read_artifact.parameters["properties"]) == ["artifact_id", "offset"]
    assert read_artifact.parameters["required"] == ["artifact_id"]
