"""`storefleet operations`: list, watch and cancel the operations of stores."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import OperationFailed
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
from storefleet.cli.typed_ids import check_id

app = typer.Typer(help="List, show, watch and cancel operations.", no_args_is_help=True)
OperationArgument = Annotated[
    str, typer.Argument(metavar="OPERATION", help="Id of the operation (op_…).", show_default=False)
]


@command(app, "get", formats=ALL_FORMATS)
def show_operation(cli: CommandContext, operation: OperationArgument) -> None:
    """Show an operation with its steps."""
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
    """Cancel an operation; a running one stops at its next step."""
    found = cli.api.send("POST", _make_operation_path(operation) + "/cancel").body
    _write_operation(cli, found)
    if not found["done"]:
        messages.write(
            f"Cancellation requested. To watch it: storefleet operations watch {found['id']}"
        )
    elif found["state"] != "cancelled":
        messages.write(f"The operation had already {found['state']}; nothing was changed.")


@command(app, "list", formats=ALL_FORMATS)
def list_operations(
    cli: CommandContext,
    store: Annotated[
        str | None, typer.Option("--store", help="Only operations of this store (name or id).")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="Only this state: queued, running, succeeded, failed or cancelled.",
        ),
    ] = None,
    limit: LimitOption = 25,
    all_rows: AllOption = False,
) -> None:
    """List operations, newest first."""
    store_id = cli.api.get(make_path("stores", store))["id"] if store else None
    query = {"store_id": store_id, "state": state}
    page = cli.api.list_rows("/operations", query, max_rows=None if all_rows else limit)
    rows = page["data"]
    headers = ("ID", "KIND", "STATE", "STEPS", "TOOK", "AGE", "STORE")
    cli.writer.write(
        page,
        make_table=lambda: format_table(map(_make_row, rows), headers) if rows else (),
        names=[operation["id"] for operation in rows],
    )
    if not rows:
        messages.write("No matching operations." if state or store else "No operations yet.")
    report_more_rows(page)


def _make_row(operation: dict[str, Any]) -> tuple[object, ...]:
    return (
        operation["id"],
        operation["kind"],
        operation["state"],
        _format_step_count(operation),
        _format_elapsed(operation),
        format_age(operation["created_at"]),
        operation["store_id"],
    )


def _format_step_count(operation: dict[str, Any]) -> str:
    steps = operation["steps"]
    return f"{sum(step['state'] == 'succeeded' for step in steps)}/{len(steps)}" if steps else ""


def _format_elapsed(timed: dict[str, Any]) -> str:
    """Format how long an operation or a step took; empty while it has not ended."""
    elapsed_s = get_elapsed_s(timed.get("started_at"), timed.get("finished_at"))
    return format_duration(elapsed_s) if elapsed_s is not None else ""


def _write_operation(cli: CommandContext, operation: dict[str, Any]) -> None:
    cli.writer.write(
        operation, make_table=lambda: _format_operation(operation), names=[operation["id"]]
    )


def _format_operation(operation: dict[str, Any]) -> list[str]:
    error = operation.get("error") or {}
    lines = format_fields(
        {
            "Id": operation["id"],
            "Kind": operation["kind"],
            "State": operation["state"],
            "Attempt": operation["attempt"],
            "Took": _format_elapsed(operation),
            "Store": operation["store_id"],
            "Error": error.get("detail"),
            "Next": error.get("next"),
        }
    )
    if operation["steps"]:
        rows = [_make_step_row(step, error.get("detail")) for step in operation["steps"]]
        lines += ["", *format_table(rows, ("STEP", "STATE", "TOOK", "MESSAGE"))]
    return lines


def _make_step_row(step: dict[str, Any], error_detail: object) -> tuple[object, ...]:
    """Make the row of a step; the message that is the operation's error stands above already."""
    message = None if step.get("message") == error_detail else step.get("message")
    return step["title"], step["state"], _format_elapsed(step), message


def _make_operation_path(operation: str) -> str:
    check_id(operation, "op")
    return make_path("operations", operation)
