"""The command `approve`: list the calls that wait for a person, and decide about them by option or by question."""

import json
import sys
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_remote import Key, Url, age, ask
from .cli_shared import AsJson, die, is_terminal, note, print_json

if TYPE_CHECKING:
    from .api.models import Approval, DecisionAnswer
    from .client import Client

    Decide = Callable[[Client, Approval], DecisionAnswer]

_QUESTION = {
    "approval": "approve, edit, reject or leave? [a/e/r, Enter leaves it] ",
    "in_doubt": "did it happen? [y/n, Enter leaves it] ",
}


def approve(
    approval_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="RUN:CALL as listed, or a run's id; left out: all.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Let the call be made as it is.")] = False,
    reject: Annotated[
        str | None, typer.Option("--reject", metavar="REASON", help="Refuse it; the model reads why.")
    ] = None,
    edit: Annotated[str | None, typer.Option("--edit", metavar="JSON", help="Make it with these arguments.")] = None,
    happened: Annotated[
        str | None, typer.Option("--happened", metavar="RESULT", help="In doubt: it took effect and returned this.")
    ] = None,
    did_not: Annotated[bool, typer.Option("--did-not-happen", help="In doubt: it took no effect.")] = False,
    digest: Annotated[str | None, typer.Option(help="Decide only if the digest still begins so.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List calls that wait for a decision, and decide. On a terminal it asks; with an option it does as told."""
    decide = _decision(yes, reject, edit, happened, did_not)
    if decide is not None and approval_id is None:
        die("say which call: loopwright approve ID, as listed without options")

    def work(client: "Client") -> None:
        found = [each for each in client.approvals.list() if approval_id in (None, each.id, each.run_id)]
        if approval_id is not None and not found:
            die(f"nothing waits for a decision under {approval_id} (loopwright approve lists what does)")
        if not found and not as_json:
            note("nothing waits for a decision")
        if decide is not None:
            _tell(decide(client, _only(found, digest)), as_json)
        elif as_json or not is_terminal():
            for each in found:
                _show(each, as_json)
        else:
            _ask_about(client, found)

    ask(url, key, work)


def _decision(yes: bool, reject: str | None, edit: str | None, happened: str | None, did_not: bool) -> "Decide | None":
    """Return what the options decide; `None` when they say nothing."""
    told: list[Decide] = []
    if yes:
        told.append(lambda client, each: client.approvals.approve(each))
    if reject is not None:
        told.append(lambda client, each: client.approvals.reject(each, reject))
    if edit is not None:
        arguments = _object(edit)
        if arguments is None:
            die("--edit takes a JSON object with all arguments of the call")
        told.append(lambda client, each: client.approvals.edit(each, arguments))
    if happened is not None:
        told.append(lambda client, each: client.approvals.settle(each, result=happened))
    if did_not:
        told.append(lambda client, each: client.approvals.settle(each, result=None))
    if len(told) > 1:
        die("one decision at a time: --yes, --edit, --reject, --happened or --did-not-happen")
    return told[0] if told else None


def _only(found: "list[Approval]", digest: str | None) -> "Approval":
    if len(found) > 1:
        die(f"{found[0].run_id} has {len(found)} calls that wait: {', '.join(each.id for each in found)}; name one")
    if digest is not None and not (digest and found[0].digest.startswith(digest)):
        die(f"{found[0].id} is another call by now: its digest begins {found[0].digest[:12]}")
    return found[0]


def _ask_about(client: "Client", found: "list[Approval]") -> None:
    """Ask the person about one call after the other."""
    for each in found:
        _show(each, as_json=False)
        answer = _asked(client, each)
        if answer is not None:
            _tell(answer, as_json=False)


def _asked(client: "Client", each: "Approval") -> "DecisionAnswer | None":
    """Return what was decided; `None`: left for later."""
    while True:
        said = _line(_QUESTION[each.kind]).lower()
        if said in ("", "l", "leave"):
            return None
        if each.kind == "in_doubt":
            if said in ("y", "yes"):
                return client.approvals.settle(each, result=_line("what did it return? "))
            if said in ("n", "no"):
                return client.approvals.settle(each, result=None)
        elif said in ("a", "approve", "y", "yes"):
            return client.approvals.approve(each)
        elif said in ("r", "reject", "n", "no"):
            return client.approvals.reject(each, _line("why? the model reads it: "))
        elif said in ("e", "edit"):
            arguments = _object(_line("all arguments as a JSON object: "))
            if arguments is not None:
                return client.approvals.edit(each, arguments)
            note("that is no JSON object")


def _line(question: str) -> str:
    """Return the next line that is typed; empty at the end of the input."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)  # what was typed before the question does not answer it
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _show(each: "Approval", as_json: bool) -> None:
    if as_json:
        print_json(each.model_dump_json())
        return
    from .cli_render import printable, printable_json

    what = "asks for approval" if each.kind == "approval" else "is in doubt: nobody knows whether it took effect"
    print(printable(f"{each.id}  {each.tool} of {each.agent} {what}  ({age(each.asked_at)} ago)"))
    print(f"    arguments  {printable_json(each.arguments)}")
    print(f"    digest     {printable(each.digest[:16])}", flush=True)


def _tell(answer: "DecisionAnswer", as_json: bool) -> None:
    if as_json:
        print_json(answer.model_dump_json())
        return
    from .cli_render import printable, printable_json

    sent = f"  {printable_json(answer.arguments)}" if answer.arguments is not None else ""
    print(f"{printable(f'{answer.run_id}:{answer.call_id}  {answer.decision} by {answer.by}')}{sent}", flush=True)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
