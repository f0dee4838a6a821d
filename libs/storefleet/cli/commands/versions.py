"""`storefleet stores upgrade, rollback, history, usage`: a store's versions and its resources."""

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
    """Add the commands to the group `stores`."""
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
            metavar="VERSION",
            help="Engine version; see `storefleet engines list`.",
            show_default=False,
        ),
    ],
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Upgrade a store to another version; a failure rolls it back automatically."""
    body = {"version": version}
    response = cli.api.send("POST", make_store_path(store) + "/upgrade", body=body)
    finish_request(cli, response, wait=wait, timeout_s=timeout)


def rollback_store(
    cli: CommandContext,
    store: StoreArgument,
    restore: Annotated[
        bool,
        typer.Option("--restore", help="Also restore the database from before the upgrade."),
    ] = False,
    discard_orders: Annotated[
        bool,
        typer.Option(
            "--discard-orders",
            help="With --restore: accept the loss of orders placed since the upgrade.",
        ),
    ] = False,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Return a store to the version before its last upgrade."""
    if discard_orders and not restore:
        raise UsageError(
            "--discard-orders requires --restore: without it, no order is lost.",
            next_step=f"storefleet stores rollback {store} --restore --discard-orders",
            code="restore_missing",
        )
    body = {"restore": restore, "discard_orders": discard_orders}
    response = cli.api.send("POST", make_store_path(store) + "/rollback", body=body)
    finish_request(cli, response, wait=wait, timeout_s=timeout)


def show_history(
    cli: CommandContext,
    store: StoreArgument,
    limit: LimitOption = 25,
    all_rows: AllOption = False,
) -> None:
    """List who changed a store's version, newest first."""
    page = cli.api.list_rows(
        make_store_path(store) + "/history",
        {},
        max_rows=None if all_rows else limit,
        id_field="operation_id",
    )
    rows = page["data"]
    headers = ("KIND", "FROM", "TO", "STATE", "BY", "AGE", "OPERATION")
    cli.writer.write(page, make_table=lambda: format_table(map(_make_row, rows), headers))
    for entry in rows:
        if not cli.writer.is_structured and entry["error"]:
            messages.write(f"{entry['operation_id']}: {format_one_line(entry['error']['detail'])}")
    report_more_rows(page)


def show_usage(cli: CommandContext, store: StoreArgument) -> None:
    """Show how much of its plan a store uses."""
    usage = cli.api.get(make_store_path(store) + "/usage")
    rows = [
        (resource["name"], resource["used"], resource["hard"], _format_share(resource["share"]))
        for resource in usage["resources"] or ()
    ]
    headers = ("RESOURCE", "USED", "LIMIT", "SHARE")
    cli.writer.write(usage, make_table=lambda: format_table(rows, headers) if rows else ())
    if usage["resources"] is None:
        messages.write("This store has no limits, so its usage is not measured.")
    elif usage["title"] and not cli.writer.is_structured:
        messages.write(f"Plan: {format_one_line(usage['title'])}")


def _make_row(entry: dict[str, Any]) -> tuple[object, ...]:
    kind = f"{entry['kind']} with database" if entry["restore"] else entry["kind"]
    by, age = entry["by"]["name"], format_age(entry["created_at"])
    return kind, entry["from"], entry["to"], entry["state"], by, age, entry["operation_id"]


def _format_share(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
