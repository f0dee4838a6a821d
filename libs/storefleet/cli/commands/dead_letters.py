"""`storefleet dead-letters`: what could not be done or read, and the way to try it again."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import UsageError
from storefleet.cli.client import make_path
from storefleet.cli.command import ALL_FORMATS, AllOption, CommandContext, LimitOption, command
from storefleet.cli.commands.stores import report_more_rows
from storefleet.cli.formatting import format_age, format_fields, format_table
from storefleet.cli.output import messages

app = typer.Typer(help="Look at what was given up, and try it again.", no_args_is_help=True)
DeadLetterArgument = Annotated[
    str, typer.Argument(metavar="LETTER", help="Id of the dead letter, dl_….", show_default=False)
]


@command(app, "list", formats=ALL_FORMATS)
def list_dead_letters(
    cli: CommandContext, limit: LimitOption = 25, all_rows: AllOption = False
) -> None:
    """List dead letters, newest first."""
    found = cli.api.list_rows("/dead-letters", {}, max_rows=None if all_rows else limit)
    rows = found["data"]
    headers = ("ID", "REASON", "STORE", "AGE", "REPLAYED", "DETAIL")
    cli.writer.write(
        found,
        make_table=lambda: (
            format_table([_make_row(letter) for letter in rows], headers) if rows else ()
        ),
        names=[letter["id"] for letter in rows],
    )
    if not rows:
        messages.write("There are no dead letters.")
    report_more_rows(found)


@command(app, "show", formats=ALL_FORMATS)
def show_dead_letter(cli: CommandContext, letter: DeadLetterArgument) -> None:
    """Show one dead letter with its message."""
    _write_dead_letter(cli, cli.api.get(_make_dead_letter_path(letter)))


@command(app, "replay", formats=ALL_FORMATS)
def replay_dead_letter(cli: CommandContext, letter: DeadLetterArgument) -> None:
    """Try it again: a given-up operation is retried, an unreadable message is sent as it was."""
    shape = cli.api.send("POST", _make_dead_letter_path(letter) + "/replay").body
    if "operation" in shape:
        operation = shape["operation"]["id"]
        cli.writer.write(
            shape,
            make_table=lambda: format_fields(
                {"Store": shape["store"]["name"], "Operation": operation}
            ),
            names=[operation],
        )
        messages.write(f"Accepted; watch it: storefleet operations watch {operation}")
    else:
        _write_dead_letter(cli, shape)


def _make_row(letter: dict[str, Any]) -> tuple[object, ...]:
    replayed = format_age(letter["replayed_at"]) if letter["replayed_at"] else "no"
    return (
        letter["id"],
        letter["reason"],
        letter["store_id"],
        format_age(letter["created_at"]),
        replayed,
        letter["detail"],
    )


def _write_dead_letter(cli: CommandContext, letter: dict[str, Any]) -> None:
    pairs = {
        "Id": letter["id"],
        "Reason": letter["reason"],
        "Detail": letter["detail"],
        "Subject": letter["subject"],
        "Store": letter["store_id"],
        "Operation": letter["operation_id"],
        "Age": format_age(letter["created_at"]),
        "Replayed": letter["replayed_at"] or "no",
        "Message": letter.get("payload"),
    }
    cli.writer.write(letter, make_table=lambda: format_fields(pairs), names=[letter["id"]])


def _make_dead_letter_path(letter: str) -> str:
    if not letter or letter in (".", ".."):
        raise UsageError("A dead letter's id is missing.", next_step="storefleet dead-letters list")
    return make_path("dead-letters", letter)
