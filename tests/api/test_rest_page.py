"""The page on REST: its requests are accepted, its problems are ours, its numbers are true."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from loopwright import errors
from loopwright.api.app import Api
from loopwright.api.body import BODY_S, MAX_BYTES, MAX_DEPTH
from loopwright.api.border import STORE_S
from loopwright.api.channel import PATIENCE_S, STALL_S
from loopwright.api.models import MAX_METADATA_BYTES, ForkRequest, RunRequest
from loopwright.api.problems import kind_of, problem_of
from loopwright.api.service import Service
from loopwright.api.streams import KEEP_ALIVE_S, KEY_CHECK_S
from loopwright.api.waiting import MAX_WAIT_S

PAGE = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()


def test_the_requests_and_the_problem_on_the_page_are_what_we_take_and_send() -> None:
    run, fork, problem = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    assert RunRequest.model_validate(run).priority == "high"
    assert ForkRequest.model_validate(fork).step == 2
    ours = problem_of(errors.AgentNotFound("shopp", "shop"), problem["request_id"])
    assert json.loads(ours.model_dump_json()) == problem


def test_every_type_in_the_table_is_an_error_of_that_status() -> None:
    known = {}
    for kind in errors.REGISTRY.values():
        error = kind.__new__(kind)
        known[error.code] = kind_of(error).status
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.MULTILINE)
    assert len(rows) == 13
    for status, types in rows:
        for name in re.findall(r"`(\w+)`", types):
            assert int(status) == (500 if name == "internal_error" else known[name]), name


def test_the_routes_on_the_page_exist() -> None:
    paths = Api(cast(Service, SimpleNamespace())).openapi()["paths"]
    for method, path in re.findall(r"`(GET|POST) (/v1[^`]*)`", PAGE):
        template = path.replace("{id}", "{run_id}")
        assert method.lower() in paths[template], path
    for path in ("/healthz", "/readyz"):
        assert path in paths and path in PAGE


def test_the_numbers_on_the_page_are_true() -> None:
    assert (MAX_BYTES, MAX_DEPTH, BODY_S, MAX_WAIT_S, KEEP_ALIVE_S) == (1 << 20, 64, 10.0, 60, 15)
    assert (STALL_S, PATIENCE_S, MAX_METADATA_BYTES) == (30.0, 60.0, 16 * 1024)
    assert STORE_S < 5 and KEY_CHECK_S + 2 < 5
