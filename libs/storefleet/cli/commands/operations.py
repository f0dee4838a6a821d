"""`storefleet operations`: the long work behind creating and deleting."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import OperationFailed, UsageError
from storefleet.cli.client import make_path
from storefleet.cli.command import (
    ALL_FORMATS,
    AllOption,
    CommandContext,
    LimitOption,
    TimeoutOption,
    command,
)
from storefleet.cli.commands.stores import report_more_rows
from storefleet.cli.formatting import (
    format_age,
    format_duration,
    format_fields,
    format_table,
    get_elapsed_s,
)
from storefleet.cli.operation_follower import check_success
from storefleet.cli.operation_watch import watch_operation
from storefleet.cli.output import messages

app = typer.Typer(
    help="Look at the work behind stores, watch it, take it back.", no_args_is_help=True
)
OperationArgument = Annotated[
    str, typer.Argument(metavar="OPERATION", help="Id of the operation, op_….", show_default=False)
]


@command(app, "get", formats=ALL_FORMATS)
def show_operation(cli: CommandContext, operation: OperationArgument) -> None:
    """Show one operation with its steps."""
    _write_operation(cli, cli.api.get(_make_operation_path(operation)))


@command(app, "watch", formats=ALL_FORMATS)
def watch_until_done(
    cli: CommandContext, operation: OperationArgument, timeout: TimeoutOption = 900
) -> None:
    """Watch an operation until it ends."""
    found = cli.api.get(_make_operation_path(operation))
    name = cli.api.get(make_path("stores", found["store_id"]))["name"]
    ended = watch_operation(cli, found, name=name, timeout_s=timeout)
    try:
        check_success(ended, name=name, request_id=None)
    except OperationFailed:
        if cli.writer.is_structured:
            _write_operation(cli, ended)
        raise
    if cli.writer.output_format != "table":
        _write_operation(cli, ended)


@command(app, "cancel", formats=ALL_FORMATS)
def cancel_operation(cli: CommandContext, operation: OperationArgument) -> None:
    """Take a creation back; one that runs stops at its next step."""
    found = cli.api.send("POST", _make_operation_path(operation) + "/cancel").body
    _write_operation(cli, found)
    if not found["done"]:
        messages.write(f"It will stop; watch it: storefleet operations watch {found['id']}")
    elif found["state"] != "cancelled":
        messages.write(f"It had {found['state']} already; nothing was changed.")


@command(app, "list", formats=ALL_FORMATS)
def list_operations(
    cli: CommandContext,
    store: Annotated[
        str | None, typer.Option("--store", help="Only of this store, name or id.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", help="Only: queued, running, succeeded, failed or cancelled."),
    ] = None,
    limit: LimitOption = 25,
    all_rows: AllOption = False,
) -> None:
    """List operations, newest first."""
    store_id = cli.api.get(make_path("stores", store))["id"] if store else None
    query = {"store_id": store_id, "state": state}
    found = cli.api.list_rows("/operations", query, max_rows=None if all_rows else limit)
    rows = found["data"]
    cli.writer.write(
        found,
        make_table=lambda: (
            format_table(
                [_make_row(o) for o in rows],
                ("ID", "KIND", "STATE", "STEPS", "TOOK", "AGE", "STORE"),
            )
            if rows
            else ()
        ),
        names=[operation["id"] for operation in rows],
    )
    if not rows:
        messages.write("No operation matches." if state or store else "No operations yet.")
    report_more_rows(found)


def _make_row(operation: dict[str, Any]) -> tuple[object, ...]:
    took = get_elapsed_s(operation["started_at"], operation["finished_at"])
    return (
        operation["id"],
        operation["kind"],
        operation["state"],
        _format_step_count(operation),
        format_duration(took) if took is not None else "",
        format_age(operation["created_at"]),
        operation["store_id"],
    )


def _format_step_count(operation: dict[str, Any]) -> str:
    steps = operation["steps"]
    return f"{sum(step['state'] == 'succeeded' for step in steps)}/{len(steps)}" if steps else ""


def _write_operation(cli: CommandContext, operation: dict[str, Any]) -> None:
    cli.writer.write(
        operation, make_table=lambda: _format_operation(operation), names=[operation["id"]]
    )


def _format_operation(operation: dict[str, Any]) -> list[str]:
    error = operation.get("error") or {}
    took = get_elapsed_s(operation.get("started_at"), operation.get("finished_at"))
    lines = format_fields(
        {
            "Id": operation["id"],
            "Kind": operation["kind"],
            "State": operation["state"],
            "Attempt": operation["attempt"],
            "Took": format_duration(took) if took is not None else None,
            "Store": operation["store_id"],
            "Error": error.get("detail"),
            "Next": error.get("next"),
        }
    )
    if operation["steps"]:
        lines += [
            "",
            *format_table(
                [_make_step_row(step) for step in operation["steps"]],
                ("STEP", "STATE", "TOOK", "MESSAGE"),
            ),
        ]
    return lines


def _make_step_row(step: dict[str, Any]) -> tuple[object, ...]:
    took = get_elapsed_s(step.get("started_at"), step.get("finished_at"))
    return (
        step["title"],
        step["state"],
        format_duration(took) if took is not None else "",
        step.get("message"),
    )


def _make_operation_path(operation: str) -> str:
    if not operation or operation in (".", ".."):
        raise UsageError("An operation's id is missing.", next_step="storefleet operations list")
    return make_path("operations", operation)
