"""`storefleet dead-letters`: list, show and replay dead letters."""

from typing import Annotated, Any

import typer

from storefleet.cli.client import make_path
from storefleet.cli.command import ALL_FORMATS, AllOption, CommandContext, LimitOption, command
from storefleet.cli.commands.stores import report_more_rows
from storefleet.cli.formatting import format_age, format_fields, format_table
from storefleet.cli.output import messages
from storefleet.cli.typed_ids import check_id

app = typer.Typer(help="List, show and replay dead letters.", no_args_is_help=True)
DeadLetterArgument = Annotated[
    str,
    typer.Argument(metavar="LETTER", help="Id of the dead letter (dl_…).", show_default=False),
]


@command(app, "list", formats=ALL_FORMATS)
def list_dead_letters(
    cli: CommandContext, limit: LimitOption = 25, all_rows: AllOption = False
) -> None:
    """List dead letters, newest first."""
    page = cli.api.list_rows("/dead-letters", {}, max_rows=None if all_rows else limit)
    rows = page["data"]
    headers = ("ID", "REASON", "STORE", "AGE", "REPLAYED", "DETAIL")
    cli.writer.write(
        page,
        make_table=lambda: format_table(map(_make_row, rows), headers) if rows else (),
        names=[letter["id"] for letter in rows],
    )
    if not rows:
        messages.write("No dead letters.")
    report_more_rows(page)


@command(app, "show", formats=ALL_FORMATS)
def show_dead_letter(cli: CommandContext, letter: DeadLetterArgument) -> None:
    """Show a dead letter with its message."""
    _write_dead_letter(cli, cli.api.get(_make_dead_letter_path(letter)))


@command(app, "replay", formats=ALL_FORMATS)
def replay_dead_letter(cli: CommandContext, letter: DeadLetterArgument) -> None:
    """Replay a dead letter: retry its operation, or publish its unreadable message again."""
    result = cli.api.send("POST", _make_dead_letter_path(letter) + "/replay").body
    if "operation" in result:
        operation_id = result["operation"]["id"]
        fields = {"Store": result["store"]["name"], "Operation": operation_id}
        cli.writer.write(result, make_table=lambda: format_fields(fields), names=[operation_id])
        messages.write(f"Accepted. To watch it: storefleet operations watch {operation_id}")
    else:
        _write_dead_letter(cli, result)


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
    fields = {
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
    cli.writer.write(letter, make_table=lambda: format_fields(fields), names=[letter["id"]])


def _make_dead_letter_path(letter: str) -> str:
    check_id(letter, "dl")
    return make_path("dead-letters", letter)
