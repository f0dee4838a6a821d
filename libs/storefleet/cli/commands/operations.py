"""`storefleet operations`: the long work behind creating and deleting."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import OperationFailed, WrongUse
from storefleet.cli.client import path_of
from storefleet.cli.command import ALL, Cli, Everything, Limit, Timeout, command
from storefleet.cli.commands.stores import tell_more
from storefleet.cli.formatting import age, between, columns, duration, facts
from storefleet.cli.operation_follower import check_success
from storefleet.cli.operation_watch import watch_operation
from storefleet.cli.output import messages

app = typer.Typer(
    help="Look at the work behind stores, watch it, take it back.", no_args_is_help=True
)
Id = Annotated[
    str, typer.Argument(metavar="OPERATION", help="Id of the operation, op_….", show_default=False)
]


@command(app, "get", formats=ALL)
def get(cli: Cli, operation: Id) -> None:
    """Show one operation with its steps."""
    _write(cli, cli.api.get(_path(operation)))


@command(app, "watch", formats=ALL)
def watch(cli: Cli, operation: Id, timeout: Timeout = 900) -> None:
    """Watch an operation until it ends."""
    found = cli.api.get(_path(operation))
    name = cli.api.get(path_of("stores", found["store_id"]))["name"]
    ended = watch_operation(cli, found, name=name, timeout=timeout)
    try:
        check_success(ended, name=name, request_id=None)
    except OperationFailed:
        if cli.out.structured:
            _write(cli, ended)
        raise
    if cli.out.format != "table":
        _write(cli, ended)


@command(app, "cancel", formats=ALL)
def cancel(cli: Cli, operation: Id) -> None:
    """Take a creation back; one that runs stops at its next step."""
    found = cli.api.send("POST", _path(operation) + "/cancel").body
    _write(cli, found)
    if not found["done"]:
        messages.say(f"It will stop; watch it: storefleet operations watch {found['id']}")
    elif found["state"] != "cancelled":
        messages.say(f"It had {found['state']} already; nothing was changed.")


@command(app, "list", formats=ALL)
def list_operations(
    cli: Cli,
    store: Annotated[
        str | None, typer.Option("--store", help="Only of this store, name or id.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", help="Only: queued, running, succeeded, failed or cancelled."),
    ] = None,
    limit: Limit = 25,
    everything: Everything = False,
) -> None:
    """List operations, newest first."""
    store_id = cli.api.get(path_of("stores", store))["id"] if store else None
    query = {"store_id": store_id, "state": state}
    found = cli.api.listed("/operations", query, limit=None if everything else limit)
    rows = found["data"]
    cli.out.write(
        found,
        table=lambda: (
            columns(
                [_row(o) for o in rows], ("ID", "KIND", "STATE", "STEPS", "TOOK", "AGE", "STORE")
            )
            if rows
            else ()
        ),
        names=[operation["id"] for operation in rows],
    )
    if not rows:
        messages.say("No operation matches." if state or store else "No operations yet.")
    tell_more(found)


def _row(operation: dict[str, Any]) -> tuple[object, ...]:
    took = between(operation["started_at"], operation["finished_at"])
    return (
        operation["id"],
        operation["kind"],
        operation["state"],
        _steps(operation),
        duration(took) if took is not None else "",
        age(operation["created_at"]),
        operation["store_id"],
    )


def _steps(operation: dict[str, Any]) -> str:
    steps = operation["steps"]
    return f"{sum(step['state'] == 'succeeded' for step in steps)}/{len(steps)}" if steps else ""


def _write(cli: Cli, operation: dict[str, Any]) -> None:
    cli.out.write(operation, table=lambda: _facts(operation), names=[operation["id"]])


def _facts(operation: dict[str, Any]) -> list[str]:
    error = operation.get("error") or {}
    took = between(operation.get("started_at"), operation.get("finished_at"))
    lines = facts(
        {
            "Id": operation["id"],
            "Kind": operation["kind"],
            "State": operation["state"],
            "Attempt": operation["attempt"],
            "Took": duration(took) if took is not None else None,
            "Store": operation["store_id"],
            "Error": error.get("detail"),
            "Next": error.get("next"),
        }
    )
    if operation["steps"]:
        lines += [
            "",
            *columns(
                [_step_row(step) for step in operation["steps"]],
                ("STEP", "STATE", "TOOK", "MESSAGE"),
            ),
        ]
    return lines


def _step_row(step: dict[str, Any]) -> tuple[object, ...]:
    took = between(step.get("started_at"), step.get("finished_at"))
    return (
        step["title"],
        step["state"],
        duration(took) if took is not None else "",
        step.get("message"),
    )


def _path(operation: str) -> str:
    if not operation or operation in (".", ".."):
        raise WrongUse("An operation's id is missing.", next_step="storefleet operations list")
    return path_of("operations", operation)
