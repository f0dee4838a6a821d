"""`storefleet stores upgrade, rollback, history, usage`: what version a store has, and what it takes."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import UsageError
from storefleet.cli.command import (
    ALL_FORMATS,
    PLAIN_FORMATS,
    AllOption,
    CommandContext,
    LimitOption,
    TimeoutOption,
    WaitOption,
    command,
)
from storefleet.cli.commands.stores import (
    StoreArgument,
    finish_request,
    make_store_path,
    report_more_rows,
)
from storefleet.cli.formatting import format_age, format_one_line, format_table
from storefleet.cli.output import messages


def register_commands(app: typer.Typer) -> None:
    """Hang the commands beside those of stores."""
    command(app, "upgrade", formats=ALL_FORMATS)(upgrade_store)
    command(app, "rollback", formats=ALL_FORMATS)(rollback_store)
    command(app, "history", formats=PLAIN_FORMATS)(show_history)
    command(app, "usage", formats=PLAIN_FORMATS)(show_usage)


def upgrade_store(
    cli: CommandContext,
    store: StoreArgument,
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION", help="One of storefleet engines list.", show_default=False
        ),
    ],
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Give a store another version; when that does not come up, the store goes back by itself."""
    answer = cli.api.send("POST", make_store_path(store) + "/upgrade", body={"version": version})
    finish_request(cli, answer, wait=wait, timeout_s=timeout)


def rollback_store(
    cli: CommandContext,
    store: StoreArgument,
    restore: Annotated[
        bool,
        typer.Option("--restore", help="Put the database back, too, as it was before the upgrade."),
    ] = False,
    discard_orders: Annotated[
        bool,
        typer.Option(
            "--discard-orders", help="With --restore: orders that came in since may be lost."
        ),
    ] = False,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Go back to the version before the last upgrade."""
    if discard_orders and not restore:
        raise UsageError(
            "--discard-orders goes with --restore: without it no order is lost.",
            next_step=f"storefleet stores rollback {store} --restore --discard-orders",
            code="restore_missing",
        )
    body = {"restore": restore, "discard_orders": discard_orders}
    answer = cli.api.send("POST", make_store_path(store) + "/rollback", body=body)
    finish_request(cli, answer, wait=wait, timeout_s=timeout)


def show_history(
    cli: CommandContext, store: StoreArgument, limit: LimitOption = 25, all_rows: AllOption = False
) -> None:
    """Tell who gave a store which version, newest first."""
    found = cli.api.list_rows(
        make_store_path(store) + "/history",
        {},
        max_rows=None if all_rows else limit,
        id_field="operation_id",
    )
    headers = ("WHAT", "FROM", "TO", "STATE", "BY", "AGE", "OPERATION")
    cli.writer.write(
        found,
        make_table=lambda: format_table([_make_row(entry) for entry in found["data"]], headers),
    )
    for entry in found["data"]:
        if not cli.writer.is_structured and entry["error"]:
            messages.write(f"{entry['operation_id']}: {format_one_line(entry['error']['detail'])}")
    report_more_rows(found)


def show_usage(cli: CommandContext, store: StoreArgument) -> None:
    """Show what a store takes of its plan."""
    shape = cli.api.get(make_store_path(store) + "/usage")
    rows = [
        (each["name"], each["used"], each["hard"], _format_share(each["share"]))
        for each in shape["resources"] or ()
    ]
    cli.writer.write(
        shape,
        make_table=lambda: (
            format_table(rows, ("RESOURCE", "USED", "ALLOWED", "SHARE")) if rows else ()
        ),
    )
    if shape["resources"] is None:
        messages.write("Nothing limits this store, so nothing is counted.")
    elif shape["title"] and not cli.writer.is_structured:
        messages.write(f"Plan: {format_one_line(shape['title'])}")


def _make_row(entry: dict[str, Any]) -> tuple[object, ...]:
    what = f"{entry['kind']} with its database" if entry["restore"] else entry["kind"]
    by, when = entry["by"]["name"], format_age(entry["created_at"])
    return what, entry["from"], entry["to"], entry["state"], by, when, entry["operation_id"]


def _format_share(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
