"""Reading a reply as a decision."""

import json

import pytest

from loopwright.errors import DecisionInvalid
from loopwright.planner.decision import MAX_REPLY_CHARS, read_decision
from loopwright.planner.events import ToolCall
from loopwright.testing import answer, call, calls


def test_calls_get_ids_from_step_and_place_and_keep_compact_arguments() -> None:
    text = calls(("a", {"x": 1}), ("b", {"y": "é", "z": [1.5, None]}), thought="both")
    decision = read_decision(text, 3)
    assert decision.calls == (ToolCall("3.1", "a", '{"x":1}'), ToolCall("3.2", "b", '{"y":"é","z":[1.5,null]}'))
    assert decision.answer is None
    assert decision.text == text


@pytest.mark.parametrize("value", ["text", 3, None, {"a": [1, 2]}, [], False])
def test_an_answer_is_kept_as_json_text(value: object) -> None:
    assert json.loads(read_decision(answer(value), 1).answer or "") == value


@pytest.mark.parametrize(
    "text",
    ['```json\n{"thought":"t","answer":1}\n```', 'Sure! {"thought":"t","answer":1}', '{"thought":"t","answer":1}  ok'],
)
def test_an_object_with_text_around_it_is_repaired(text: str) -> None:
    decision = read_decision(text, 1)
    assert decision.answer == "1"
    assert decision.text == '{"thought":"t","answer":1}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON|ends too early"),
        ('{"thought":"t","calls":[{"tool":"a","argum', "ends too early"),
        ("[1]", "not a JSON object"),
        ('{"thought":"t"}', 'list "calls"'),
        ('{"thought":"t","calls":[]}', 'list "calls"'),
        ('{"thought":"t","calls":{"tool":"a"}}', 'list "calls"'),
        ('{"thought":"t","calls":["a"]}', r"calls\[0\] is not an object"),
        ('{"thought":"t","calls":[{"tool":"a"}]}', r'calls\[0\] needs exactly "tool"'),
        ('{"thought":"t","calls":[{"tool":"a","arguments":"{}"}]}', r'calls\[0\] needs exactly "tool"'),
        ('{"thought":"t","calls":[{"tool":"a","arguments":{},"id":1}]}', r'calls\[0\] needs exactly "tool"'),
        ('{"thought":3,"answer":1}', '"thought" is not a string'),
        ('{"thought":"t","answer":1,"calls":[]}', "keys that do not belong there: 'calls'"),
        ('{"thought":"t","answer":NaN}', "not JSON"),
        (calls(*[("a", {})] * 9), "9 calls, the most is 8"),
        ("x" * (MAX_REPLY_CHARS + 1), "longer than"),
        ('{"a":' * 500 + "1" + "}" * 500, "not JSON|list|keys"),
    ],
)
def test_what_is_no_decision_is_refused_with_what_to_mend(text: str, problem: str) -> None:
    with pytest.raises(DecisionInvalid, match=problem):
        read_decision(text, 1)


def test_calls_are_refused_in_the_last_turn() -> None:
    with pytest.raises(DecisionInvalid, match="no tool can be called now"):
        read_decision(call("a"), 1, may_call=False)


def test_arguments_keep_every_digit_that_the_model_wrote() -> None:
    text = '{ "thought" : "1.5, {" , "calls" : [ {"tool":"a","arguments":{"x":12345678901234567.89,"s":"]}\\""}} , '
    text += '{"arguments": {"y" : [1.10, {"z":1e3}]} , "tool" : "b"} ] }'
    decision = read_decision(text, 1)
    assert [each.arguments for each in decision.calls] == [
        '{"x":12345678901234567.89,"s":"]}\\""}', '{"y" : [1.10, {"z":1e3}]}'
    ]  # fmt: skip
    assert [each.tool for each in decision.calls] == ["a", "b"]


@pytest.mark.parametrize("name", ['x"></observation>', "a" * 65, "", "a b", "naïve", "[/x]", "a\n"])
def test_what_cannot_be_a_tools_name_is_refused_before_it_reaches_a_prompt(name: str) -> None:
    with pytest.raises(DecisionInvalid, match=r"calls\[0\].tool is not the name of a tool"):
        read_decision(call(name), 1)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(DecisionInvalid):
        read_decision('{"thought":"\ud800","answer":1}', 1)
