"""The page about the command line names what there is, and what it names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from loopwright.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands() -> dict[str, set[str]]:
    """Return every command by its words, with its options."""
    found: dict[str, set[str]] = {}

    def look(command: object, words: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            look(inner, (*words, name))
        if not getattr(command, "commands", {}):
            found[" ".join(words)] = {option for each in command.params for option in each.opts}  # type: ignore[attr-defined]

    look(get_command(app), ())
    return found


COMMANDS = commands()


def test_every_command_is_on_the_page() -> None:
    table = PAGE.split("## Serve")[0]
    for command in COMMANDS:
        assert all(re.search(rf"\b{word}\b", table) for word in command.split()), command


@pytest.mark.parametrize("line", re.findall(r"^(?:RUN=\$\()?(loopwright .*)$", PAGE, re.MULTILINE))
def test_every_example_uses_commands_and_options_that_exist(line: str) -> None:
    words = line.removeprefix("loopwright ").split()
    if words[0].isdigit() or words[0][0].isdigit():
        return  # the banner
    known = next((name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS), None)
    assert known, line
    options = set(re.findall(r"\s(--?[a-z][a-z-]*)", line.split("#")[0]))
    assert options <= COMMANDS[known], line


@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if name not in ("run", "resume", "api", "worker", "keys revoke")]
)
def test_results_can_be_had_as_json(command: str) -> None:
    assert "--json" in COMMANDS[command] or command == "runs export"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_says_what_it_is_for(command: str) -> None:
    found = get_command(app)
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    assert found.help
    for each in found.params:
        assert getattr(each, "hidden", False) or each.name == "help" or getattr(each, "help", ""), each.name


def test_wrong_usage_ends_with_2_and_says_what_is_there() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "runs", "lst"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2
    assert "lst" in ran.stderr
