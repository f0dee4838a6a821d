"""`storefleet dead-letters`: what could not be done or read, and the way to try it again."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import WrongUse
from storefleet.cli.client import path_of
from storefleet.cli.command import ALL, Cli, Everything, Limit, command
from storefleet.cli.commands.stores import tell_more
from storefleet.cli.formatting import age, columns, facts
from storefleet.cli.output import messages

app = typer.Typer(help="Look at what was given up, and try it again.", no_args_is_help=True)
Id = Annotated[
    str, typer.Argument(metavar="LETTER", help="Id of the dead letter, dl_….", show_default=False)
]


@command(app, "list", formats=ALL)
def list_letters(cli: Cli, limit: Limit = 25, everything: Everything = False) -> None:
    """List dead letters, newest first."""
    found = cli.api.listed("/dead-letters", {}, limit=None if everything else limit)
    rows = found["data"]
    headers = ("ID", "REASON", "STORE", "AGE", "REPLAYED", "DETAIL")
    cli.out.write(
        found,
        table=lambda: columns([_row(letter) for letter in rows], headers) if rows else (),
        names=[letter["id"] for letter in rows],
    )
    if not rows:
        messages.say("There are no dead letters.")
    tell_more(found)


@command(app, "show", formats=ALL)
def show(cli: Cli, letter: Id) -> None:
    """Show one dead letter with its message."""
    _write(cli, cli.api.get(_path(letter)))


@command(app, "replay", formats=ALL)
def replay(cli: Cli, letter: Id) -> None:
    """Try it again: a given-up operation is retried, an unreadable message is sent as it was."""
    shape = cli.api.send("POST", _path(letter) + "/replay").body
    if "operation" in shape:
        operation = shape["operation"]["id"]
        cli.out.write(
            shape,
            table=lambda: facts({"Store": shape["store"]["name"], "Operation": operation}),
            names=[operation],
        )
        messages.say(f"Accepted; watch it: storefleet operations watch {operation}")
    else:
        _write(cli, shape)


def _row(letter: dict[str, Any]) -> tuple[object, ...]:
    replayed = age(letter["replayed_at"]) if letter["replayed_at"] else "no"
    return (
        letter["id"],
        letter["reason"],
        letter["store_id"],
        age(letter["created_at"]),
        replayed,
        letter["detail"],
    )


def _write(cli: Cli, letter: dict[str, Any]) -> None:
    pairs = {
        "Id": letter["id"],
        "Reason": letter["reason"],
        "Detail": letter["detail"],
        "Subject": letter["subject"],
        "Store": letter["store_id"],
        "Operation": letter["operation_id"],
        "Age": age(letter["created_at"]),
        "Replayed": letter["replayed_at"] or "no",
        "Message": letter.get("payload"),
    }
    cli.out.write(letter, table=lambda: facts(pairs), names=[letter["id"]])


def _path(letter: str) -> str:
    if not letter or letter in (".", ".."):
        raise WrongUse("A dead letter's id is missing.", next_step="storefleet dead-letters list")
    return path_of("dead-letters", letter)
