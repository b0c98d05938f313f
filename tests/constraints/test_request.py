"""Request fields: equal to what Outlines writes, and readable by the engines behind the servers."""

import json
import random
import subprocess
import sys

import llguidance
import pytest

from loopwright.inference.constraints.request import Mode, request_fields, union_schema
from loopwright.inference.constraints.sampling import random_decision
from loopwright.inference.constraints.validate import validator

from .support import constraint_over

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party modules warn on import


@pytest.mark.parametrize("mode", ["vllm_grammar", "vllm_json", "response_format"])
def test_the_fields_are_those_of_outlines_own_type_adapters(mode: Mode) -> None:
    from outlines.models.openai import OpenAITypeAdapter
    from outlines.models.vllm import VLLMTypeAdapter

    from loopwright.inference.constraints.outlines_types import outlines_json_type, outlines_type

    constraint = constraint_over(20)
    expected = {
        "vllm_grammar": lambda: VLLMTypeAdapter().format_output_type(outlines_type(constraint)),
        "vllm_json": lambda: VLLMTypeAdapter().format_output_type(outlines_json_type(constraint)),
        "response_format": lambda: OpenAITypeAdapter().format_output_type(outlines_json_type(constraint)),
    }[mode]()
    assert request_fields(constraint, mode) == expected


def test_an_unconstrained_endpoint_gets_no_fields() -> None:
    assert request_fields(constraint_over(3), "none") == {}


def test_fields_are_built_once_and_fit_a_request() -> None:
    constraint = constraint_over(20)
    assert request_fields(constraint, "vllm_grammar") is request_fields(constraint, "vllm_grammar")
    assert len(json.dumps(request_fields(constraint, "vllm_grammar"))) < 32_000


def test_every_random_decision_satisfies_the_union_schema() -> None:
    rng = random.Random(3)
    constraint = constraint_over(20)
    check = validator(union_schema(constraint))
    for _ in range(100):
        text = random_decision(constraint, rng)
        assert check(text) == [], text


def test_the_union_schema_is_one_that_llguidance_enforces() -> None:
    for first in range(20):
        schema = union_schema(constraint_over(1, first=first))
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        failed, notes = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
        assert not failed, notes


def test_request_fields_need_no_outlines() -> None:
    code = (
        "import sys; from loopwright.inference.constraints.decision import DecisionConstraint as C\n"
        "from loopwright.inference.constraints.request import request_fields\n"
        "for mode in ('vllm_grammar', 'vllm_json', 'response_format'): request_fields(C((), '{}'), mode)\n"
        "assert not {'outlines', 'openai', 'numpy', 'llguidance'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
