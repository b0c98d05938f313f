"""JSON queries: paths that models write without being taught, errors that say what stands there instead."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import ToolError
from loopwright.tools.builtin import query_json

DOCUMENT = json.dumps(
    {
        "store": {
            "books": [
                {"title": "Ants", "price": 10, "tags": ["a", "b"], "sold": True},
                {"title": "Bücher", "price": 12.5, "sold": 1},
                {"title": "Cats"},
            ],
            "a.b": 1,
            "x/y": 2,
        },
        "none": None,
        "prices": [0.1, 0.2],
    }
)

RESULTS = {
    "store.books[0].title": '"Ants"',
    "$.store.books[0].title": '"Ants"',
    "store.books.0.title": '"Ants"',
    "/store/books/1/title": '"Bücher"',
    "/store/x~1y": "2",
    "store['a.b']": "1",
    'store["a.b"]': "1",
    "store.books[-1].title": '"Cats"',
    "store.books[*].title": '["Ants","Bücher","Cats"]',
    "store.books[1:].title": '["Bücher","Cats"]',
    "store.books[:1].title": '["Ants"]',
    "store.books[*].tags[*]": '["a","b"]',
    "store.books[?price>10].title": '["Bücher"]',
    "$.store.books[?(@.price >= 10)].title": '["Ants","Bücher"]',
    "store.books[?price<=10].title": '["Ants"]',
    "store.books[?price!=10].title": '["Bücher"]',
    "store.books[?price>'10'].title": "[]",
    "store.books[?title=='Ants'].price": "[10]",
    'store.books[?title="Ants"].price': "[10]",
    "store.books[?title=Ants].price": "[10]",
    "store.books[?sold==true].title": '["Ants"]',
    "store.books[?tags].title": '["Ants"]',
    "prices[?@>0.1]": "[0.2]",
    "prices | sum": "0.3",
    "prices|max": "0.2",
    "prices|min": "0.1",
    "store.books | count": "3",
    "store.books[*].price | sum": "22.5",
    "store | keys": '["books","a.b","x/y"]',
    "none": "null",
    "prices": "[0.1,0.2]",
}

REFUSALS = {
    "store.zz": "there is no 'zz' in an object with the keys books, a.b, x/y",
    "/store/zz": "there is no 'zz' in an object",
    "store.books[9]": "there is no [9] in a list of 3 items",
    "store.books.title": "there is no 'title' in a list of 3 items",
    "none.x": "there is no 'x' in null",
    "none[*]": "need a list or an object, but find null",
    "store..books": "cannot read the query at '..books'; accepted are key.key",
    "[": "cannot read the query",
    "prices | average": "unknown function 'average'; accepted are count, keys, max, min, sum",
    "store.books[*].title | sum": "need a list of numbers",
    "none | count": "count needs",
    "prices | keys": "keys needs an object",
    "a" * 501: "at most 500",
    "a." * 40: "more than 32 steps",
}

DOCUMENTS = {
    "": "not JSON: Expecting value at line 1, column 1",
    "[1,": "not JSON",
    '{"a": NaN}': "NaN is no JSON value",
    "[-Infinity]": "-Infinity is no JSON value",
    "1e999": "too large",
    "9" * 5_000: "more than 300 digits",
    "[" * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
    " " * 1_000_001: "at most 1,000,000",
}


@pytest.mark.parametrize(("query", "result"), RESULTS.items())
def test_a_query_picks_its_values(query: str, result: str) -> None:
    assert query_json(DOCUMENT, query) == result


@pytest.mark.parametrize("query", ["", "$", ".", " $ "])
def test_an_empty_query_returns_the_document(query: str) -> None:
    assert json.loads(query_json(DOCUMENT, query)) == json.loads(DOCUMENT)


@pytest.mark.parametrize(("query", "message"), REFUSALS.items(), ids=lambda text: text[:30])
def test_a_query_without_answer_says_why(query: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        query_json(DOCUMENT, query)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("document", "message"), DOCUMENTS.items(), ids=lambda text: text[:20])
def test_a_document_that_is_no_json_is_refused(document: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ToolError) as caught:
        query_json(document, "$")
    assert message in str(caught.value)
    assert time.process_time() - start < 1


def test_too_many_values_are_refused_but_can_be_counted() -> None:
    document = json.dumps(list(range(100_000)))
    with pytest.raises(ToolError, match="narrow the query or use count"):
        query_json(document, "[*]")
    assert query_json(document, "[*] | count") == "100000"
    assert query_json(document, "[?@>99998]") == "[99999]"


def test_too_long_a_result_is_refused() -> None:
    with pytest.raises(ToolError, match="narrow the query"):
        query_json(json.dumps(["x" * 200_000]), "$")


def test_half_a_character_cannot_leave_the_tool() -> None:
    assert query_json('"\\ud800"', "$") == '"?"'


def test_nested_branches_stay_linear() -> None:
    document = json.dumps([[[[0] * 10] * 10] * 10] * 10)
    start = time.process_time()
    assert query_json(document, "[*][*][*][*] | count") == "10000"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("start", ["[?", "[?a>", '["', "['", "[", "."])
@pytest.mark.parametrize("filler", [" ", "\\", "a.", "[", "(", "'", '"', "=", "|", "1"])
def test_a_hostile_query_ends_at_once(start: str, filler: str) -> None:
    begin = time.process_time()
    try:
        query_json("[]", start + filler * (480 // len(filler)))
    except ToolError as refusal:
        assert len(str(refusal)) < 400
    assert time.process_time() - begin < 0.25


leaves = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@given(documents, st.data())
def test_a_pointer_reaches_every_value(document: Any, data: st.DataObject) -> None:
    pointer, value = "", document
    while isinstance(value, dict | list) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
        value = value[key]
    # The tool's own syntax gives `|` and outer spaces a meaning.
    if "|" not in pointer and pointer == pointer.strip() and len(pointer) <= 500:
        assert json.loads(query_json(json.dumps(document), pointer)) == value


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_input_is_answered_or_refused(document: str, query: str) -> None:
    for text in (document, DOCUMENT):
        try:
            assert query_json(text, query)
        except ToolError as refusal:
            assert str(refusal)
