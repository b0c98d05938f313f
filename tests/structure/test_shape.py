"""Promises about the shape of the code: public names, sizes, errors that travel."""

import ast
import dataclasses
import importlib
import pickle
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import loopwright
from loopwright import errors

ROOT = Path(__file__).parents[2]
FOLDERS = ("agents", "api", "benchmarks", "client", "examples", "inference", "memory", "planner", "tools", "workers")
LONGEST_FUNCTION = 60


def python_files() -> list[Path]:
    inside = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return inside + sorted(ROOT.glob("*.py"))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - (body[0].lineno if body else node.lineno) + 1


def natural(name: str) -> tuple[int, str]:
    """Order of exported names: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_the_public_face_is_sorted_and_every_name_resolves() -> None:
    assert loopwright.__all__ == sorted(loopwright.__all__, key=natural)
    assert set(loopwright.__all__) == set(loopwright._HOME)
    for name in loopwright.__all__:
        assert getattr(loopwright, name) is not None


@pytest.mark.parametrize("package", ["agents", "inference.constraints", "tools", "tools.builtin"])
def test_a_package_exports_a_sorted_list_of_names_that_exist(package: str) -> None:
    module = importlib.import_module(f"loopwright.{package}")
    assert list(module.__all__) == sorted(module.__all__, key=natural)
    for name in module.__all__:
        assert hasattr(module, name)


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({length(node)})"
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > LONGEST_FUNCTION
    ]
    assert long == []


def test_every_module_says_in_a_sentence_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def sample(kind: Any) -> Any:
    """Return a value for a field of an error."""
    text = str(kind)
    if "list" in text:
        return ["a: b", "c: d"]
    if "float" in text:
        return 1.5
    if "int" in text:
        return 7
    return "x {y} z"


@pytest.mark.parametrize("name", sorted(errors.REGISTRY))
def test_an_error_survives_pickling_and_json_with_all_its_facts(name: str) -> None:
    kind = errors.REGISTRY[name]
    hints = get_type_hints(kind)
    facts = {each.name: sample(hints[each.name]) for each in dataclasses.fields(kind)}
    error = kind(**facts)
    for copy in (pickle.loads(pickle.dumps(error)), errors.from_json(errors.to_json(error))):
        assert type(copy) is kind
        assert copy.facts == facts
        assert str(copy) == str(error)
    assert str(error)
    assert kind.__doc__
