"""Load agents from files, folders and modules, without touching `sys.path`.

The files of a folder become submodules of a package that exists for that folder only, so they may import each other
relatively (`from .shared import rates`) and never collide with anything installed. A file is run once per process.
"""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import DefinitionInvalid, LoadFailed
from .agent import Agent


def load(source: str) -> list[Agent[Any]]:
    """Load agents from a file, a folder, `module`, or `module:name` (also `file.py:name`).

    Of a folder, all `*.py` are loaded but those whose names begin with `_`, in the order of their names. Agents are
    the values at a module's top level, in the order of their definition; names that begin with `_` do not count.

    Raises:
        LoadFailed: There is no such source, it does not run, or it defines no agent.
        DefinitionInvalid: A definition inside is wrong; the message names file and line.
    """
    path = Path(source)
    if source and path.is_dir():
        return _agents(source, [_load_file(each) for each in sorted(path.glob("*.py")) if each.name[0] != "_"])
    if path.is_file():
        return _agents(source, [_load_file(path)])
    place, _, name = source.rpartition(":")
    if place:
        return [_named(source, _load_place(place, source), name)]
    return _agents(source, [_load_place(source, source)])


def _load_place(place: str, source: str) -> ModuleType:
    if Path(place).is_file():
        return _load_file(Path(place))
    if place.endswith(".py") or "/" in place:
        raise LoadFailed(source, "there is no such file or folder")
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise LoadFailed(source, f"there is no file, folder or module {place!r}")
    return _run(source, lambda: importlib.import_module(place), Path(found.origin or place).parent)


def _load_file(path: Path) -> ModuleType:
    path = path.resolve()
    package = _package(path.parent)
    name = f"{package}.{path.stem}"
    return sys.modules.get(name) or _run(str(path), lambda: _execute(name, path), path.parent)


def _package(folder: Path) -> str:
    """Return the name of the folder's own package, and make it at first use."""
    name = f"_loopwright_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return name
    init = folder / "__init__.py"
    if init.is_file():
        _run(str(init), lambda: _execute(name, init, [str(folder)]), folder)
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return name


def _execute(name: str, path: Path, locations: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=locations)
    if spec is None or spec.loader is None:
        raise LoadFailed(str(path), "it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _run(source: str, execute: Any, folder: Path) -> ModuleType:
    """Run a module and translate what it raises, naming the place in the user's own files."""
    try:
        return execute()  # type: ignore[no-any-return]
    except LoadFailed:
        raise
    except DefinitionInvalid as exc:
        raise DefinitionInvalid(f"{_line(exc, folder)}{exc.what}", exc.problems) from exc
    except (Exception, SystemExit) as exc:
        raise LoadFailed(source, f"{_line(exc, folder)}{type(exc).__name__}: {_message(exc)}") from exc


def _line(error: BaseException, folder: Path) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: "
    own = [each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename).parent == folder]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""


def _message(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _agents(source: str, modules: list[ModuleType]) -> list[Agent[Any]]:
    found: dict[Agent[Any], None] = {}
    for module in modules:
        found.update(dict.fromkeys(_defined(module).values()))
    if not found:
        raise LoadFailed(source, "it defines no agent at the top level of a module")
    return list(found)


def _defined(module: ModuleType) -> dict[str, Agent[Any]]:
    return {key: each for key, each in vars(module).items() if isinstance(each, Agent) and not key.startswith("_")}


def _named(source: str, module: ModuleType, name: str) -> Agent[Any]:
    agent = getattr(module, name, None)
    if not isinstance(agent, Agent):
        known = ", ".join(_defined(module)) or "none"
        raise LoadFailed(source, f"{name!r} is no agent there; its agents are: {known}")
    return agent
