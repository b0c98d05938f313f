"""Agents from files, folders and modules."""

import sys
from pathlib import Path

import pytest

from loopwright.agents import load
from loopwright.errors import DefinitionInvalid, LoadFailed

CLERK = 'from loopwright import Agent\nclerk = Agent("clerk", "Help.")\n'


def names(source: object) -> list[str]:
    return [agent.name for agent in load(str(source))]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_file_gives_its_agents_in_the_order_of_their_definition(tmp_path: Path) -> None:
    write(tmp_path, office=CLERK + 'boss = Agent("boss", "Rule.")\nsame = boss\n_hidden = Agent("hidden", "Hide.")\n')
    assert names(tmp_path / "office.py") == ["clerk", "boss"]
    assert names(f"{tmp_path / 'office.py'}:boss") == ["boss"]


def test_a_folder_gives_the_agents_of_all_its_files_and_sys_path_stays(tmp_path: Path) -> None:
    write(
        tmp_path,
        b_second='from .shared import agent\nfrom ._private import NAME\nsecond = agent("second")\n',
        a_first=CLERK,
        shared='from loopwright import Agent\ndef agent(name):\n    return Agent(name, "Help.")\n',
        _private='NAME = "x"\nraise_if_loaded_alone = True\n',
    )
    before = list(sys.path)
    assert names(tmp_path) == ["clerk", "second"]
    assert sys.path == before
    assert "shared" not in sys.modules


def test_a_file_and_its_folder_give_the_same_objects(tmp_path: Path) -> None:
    write(tmp_path, office=CLERK, other="from .office import clerk\n")
    assert load(str(tmp_path / "office.py")) == load(str(tmp_path)) == load(str(tmp_path / "other.py"))


def test_files_of_the_same_name_in_other_folders_do_not_collide(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, office=CLERK.replace('"clerk"', f'"{name}"'))
    assert names(tmp_path / "one" / "office.py") + names(tmp_path / "two" / "office.py") == ["one", "two"]


def test_a_folder_may_be_a_package(tmp_path: Path) -> None:
    write(
        tmp_path,
        __init__='RULE = "Help."\n',
        office='from loopwright import Agent\nfrom . import RULE\na = Agent("a", RULE)\n',
    )
    assert names(tmp_path) == ["a"]


def test_a_module_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, my_agents_module=CLERK)
    monkeypatch.syspath_prepend(tmp_path)
    assert names("my_agents_module") == ["clerk"]
    assert names("my_agents_module:clerk") == ["clerk"]
    with pytest.raises(LoadFailed, match="'boss' is no agent there; its agents are: clerk"):
        load("my_agents_module:boss")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = (\n", r"office\.py:2: SyntaxError: '\(' was never closed"),
        ("x = 1\n\nboom()\n", r"office\.py:3: NameError: name 'boom' is not defined"),
        ("import no_such_module_at_all\n", r"office\.py:1: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", r"office\.py:2: SystemExit: 3"),
        ("from .nowhere import x\n", r"office\.py:1: ModuleNotFoundError"),
        ("x = 1\n", "it defines no agent"),
    ],
)
def test_a_file_that_does_not_run_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, office=text)
    with pytest.raises(LoadFailed, match=message):
        load(str(tmp_path / "office.py"))


def test_a_wrong_definition_is_named_with_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, office='from loopwright import Agent\n\nclerk = Agent("clerk", "", samples=0)\n')
    with pytest.raises(DefinitionInvalid) as caught:
        load(str(tmp_path))
    assert caught.value.what == "office.py:3: agent 'clerk'"
    assert [each.split(":")[0] for each in caught.value.problems] == ["instructions", "samples"]


def test_a_file_that_failed_can_be_mended_and_loaded_again(tmp_path: Path) -> None:
    write(tmp_path, office="boom()\n")
    with pytest.raises(LoadFailed):
        load(str(tmp_path / "office.py"))
    write(tmp_path, office="# mended: another size than before\n" + CLERK)
    assert names(tmp_path / "office.py") == ["clerk"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "there is no such file or folder"),
        ("nothing.py", "there is no such file or folder"),
        ("nothing.py:clerk", "there is no such file or folder"),
        ("no_such_module", "there is no file, folder or module 'no_such_module'"),
        ("no_such.module:clerk", "there is no file, folder or module"),
        ("", "there is no file, folder or module"),
        (":clerk", "there is no file, folder or module"),
    ],
)
def test_a_source_that_does_not_exist_is_said_to(source: str, message: str) -> None:
    with pytest.raises(LoadFailed, match=message):
        load(source)


def test_an_empty_folder_defines_no_agent(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="it defines no agent"):
        load(str(tmp_path))
