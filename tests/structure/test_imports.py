"""Imports point inwards, and the core stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "loopwright"
FOLDERS = ("agents", "api", "client", "inference", "memory", "planner", "tools", "workers")

MAY_IMPORT = {
    "agents": ("agents", "errors", "tools", "inference.constraints", "inference.endpoint"),
    "client": ("api.models", "client", "errors", "planner.events"),
    "inference": ("errors", "inference", "planner.prompt", "planner.signature", "settings"),
    "memory": ("errors", "memory", "planner.events"),
    "planner": (
        "agents", "errors", "inference.constraints.decision", "inference.endpoint",
        "memory.journal.contract", "memory.journal.ids", "planner", "tools",
    ),
    "tools": ("errors", "inference.constraints.decision", "planner.events", "tools"),
}  # fmt: skip
"""What a file may import when it is loaded; imports inside functions are choices made later."""

ADAPTERS = {
    "redis": ("memory",),
    "celery": ("workers/celery_app.py", "workers/pool.py"),
    "kombu": ("workers/celery_app.py", "workers/pool.py"),
    "fastapi": ("api",),
    "starlette": ("api",),
    "uvicorn": ("api/server.py",),
    "httpx2": ("client", "inference", "tools/builtin", "workers/webhooks.py"),
}
"""The places for each library that touches the outside world."""

NEVER_AT_LOAD = {"dspy", "mcp", "openai", "outlines", "litellm", "torch"}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "train" not in path.parts:
                yield path, ast.parse(path.read_text())


def loaded_at_once(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run when the module is loaded: everywhere but in functions and for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING":
            for otherwise in node.orelse:
                yield from loaded_at_once(ast.Module([otherwise], []))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from loaded_at_once(node)


def targets(path: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield what is imported: dotted names inside the package start with a folder, others with `!`."""
    if isinstance(node, ast.Import):
        stems = [alias.name for alias in node.names]
    elif node.level == 0:
        stems = [f"{node.module}.{alias.name}" if node.module == PACKAGE else f"{node.module}" for alias in node.names]
    else:
        base = path.relative_to(ROOT).parts[: -node.level]
        stem = ".".join((PACKAGE, *base, *filter(None, (node.module,))))
        stems = [f"{stem}.{alias.name}" if stem == PACKAGE else stem for alias in node.names]
    for stem in stems:
        first, _, rest = stem.partition(".")
        yield (rest or first) if first == PACKAGE else f"!{stem}"


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("from ..memory.journal.ids import x", ["memory.journal.ids"]),
        ("from .. import memory", ["memory"]),
        ("from loopwright.memory.journal import x", ["memory.journal"]),
        ("import loopwright.memory, redis.asyncio", ["memory", "!redis.asyncio"]),
        ("from loopwright import memory", ["memory"]),
        ("import loopwright", ["loopwright"]),
        ("if sys.platform == 'linux':\n    import redis\nelse:\n    import celery", ["!redis", "!celery"]),
        ("try:\n    import redis\nexcept ImportError:\n    import celery", ["!redis", "!celery"]),
        ("class A:\n    import redis", ["!redis"]),
        ("if TYPE_CHECKING:\n    import redis\nelse:\n    import celery", ["!celery"]),
        ("if typing.TYPE_CHECKING:\n    import redis", []),
        ("if not TYPE_CHECKING:\n    import redis", ["!redis"]),
        ("def f():\n    import redis", []),
    ],
)
def test_every_import_that_runs_at_load_is_seen(source: str, seen: list[str]) -> None:
    path = ROOT / "planner" / "x.py"
    assert [name for node in loaded_at_once(ast.parse(source)) for name in targets(path, node)] == seen


def test_inside_the_package_imports_are_relative() -> None:
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.level == 0 and f"{node.module}.".startswith(f"{PACKAGE}."))
        or (isinstance(node, ast.Import) and any(f"{each.name}.".startswith(f"{PACKAGE}.") for each in node.names))
    ]
    assert absolute == []


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_a_folder_imports_only_what_lies_further_in(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in sources()
        if path.relative_to(ROOT).parts[0] == folder
        for node in loaded_at_once(tree)
        for name in targets(path, node)
        if not name.startswith("!") and not any(name == ok or name.startswith(f"{ok}.") for ok in MAY_IMPORT[folder])
    ]
    assert wrong == []


def test_only_adapters_load_libraries_that_touch_the_outside_world() -> None:
    wrong = []
    for path, tree in sources():
        place = str(path.relative_to(ROOT))
        for node in loaded_at_once(tree):
            for name in targets(path, node):
                library = name.removeprefix("!").split(".")[0]
                if library in NEVER_AT_LOAD and name.startswith("!"):
                    wrong.append(f"{place}: {library}")
                if library in ADAPTERS and name.startswith("!") and not place.startswith(ADAPTERS[library]):
                    wrong.append(f"{place}: {library}")
    assert wrong == []


def test_the_core_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, loopwright, loopwright.agents, loopwright.tools, loopwright.planner.run, loopwright.testing,"
        " loopwright.memory.journal.in_memory, loopwright.inference.openai_compatible\n"
        "heavy = {'openai', 'dspy', 'outlines', 'mcp', 'litellm', 'torch', 'celery', 'redis', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_within_half_a_cpu_second() -> None:
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'loopwright.cli', '--help'], check=True, capture_output=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(done.stdout) for done in runs) <= 0.5
