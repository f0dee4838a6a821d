"""`storefleet stores`: create, list, inspect, retry and delete stores."""

import secrets
import sys
from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import Interrupted, OperationFailed, ServiceUnreachable, UsageError
from storefleet.cli.client import LONG_RETRY_PAUSES_S, ApiResponse, GatewayClient, make_path
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
from storefleet.cli.formatting import format_age, format_fields, format_table, sanitize_text
from storefleet.cli.observed_texts import find_problem, format_cron, format_storefront
from storefleet.cli.operation_follower import check_success
from storefleet.cli.operation_watch import watch_operation
from storefleet.cli.output import is_terminal, messages
from storefleet.cli.parameters import parse_parameters
from storefleet.cli.typed_ids import check_kind

app = typer.Typer(help="Create, list, watch, upgrade and delete stores.", no_args_is_help=True)
StoreArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="Name or id of the store.", show_default=False)
]
_STATE_NAMES = (
    "requested, provisioning, ready, upgrading, rolling_back, failed, deleting or deleted"
)


@command(app, "create", formats=ALL_FORMATS)
def create_store(
    cli: CommandContext,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="3 to 40 lowercase letters, digits or hyphens; part of the URL.",
            show_default=False,
        ),
    ],
    engine: Annotated[
        str | None, typer.Option("--engine", help="Engine; see `storefleet engines list`.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", help="Engine version; by default the engine's default."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", help="Plan (resource limits); see `storefleet engines list`."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", help="Engine parameter; repeatable."),
    ] = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            help="Idempotency key; a repeated request with it creates no second store.",
        ),
    ] = None,
) -> None:
    """Create a store."""
    given = {"name": name, "engine": engine, "version": version, "plan": plan}
    body: dict[str, Any] = {key: value for key, value in given.items() if value}
    if param:
        body["parameters"] = parse_parameters(cli.api, param, engine)
    key = idempotency_key or secrets.token_hex(16)
    try:
        response = cli.api.send(
            "POST",
            "/stores",
            body=body,
            idempotency_key=key,
            repeatable=True,
            pauses_s=LONG_RETRY_PAUSES_S,
        )
    except (ServiceUnreachable, KeyboardInterrupt) as error:
        repeat = (
            f"storefleet stores create {name} --idempotency-key {key} … "
            "(this key prevents a second store)"
        )
        if isinstance(error, ServiceUnreachable):
            error.next_step = f"{error.next_step}; then: {repeat}"
            raise
        raise Interrupted(
            "Interrupted before the response arrived: the request may have been accepted.",
            code="interrupted",
            next_step=repeat,
        ) from None
    finish_request(cli, response, wait=wait, timeout_s=timeout)


@command(app, "list", formats=ALL_FORMATS)
def list_stores(
    cli: CommandContext,
    state: Annotated[
        str | None, typer.Option("--state", help=f"Only this state: {_STATE_NAMES}.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only names that contain this text.")
    ] = None,
    limit: LimitOption = 25,
    all_rows: AllOption = False,
) -> None:
    """List stores, newest first; deleted ones only with `--state deleted`."""
    query = {"state": state, "q": search}
    page = cli.api.list_rows("/stores", query, max_rows=None if all_rows else limit)
    rows = page["data"]
    headers = ("NAME", "STATE", "STOREFRONT", "ENGINE", "URL", "AGE", "ID")
    cli.writer.write(
        page,
        make_table=lambda: format_table(map(_make_row, rows), headers) if rows else (),
        names=[_get_reference(store) for store in rows],
    )
    if not rows:
        is_filtered = state or search
        messages.write(
            "No matching stores."
            if is_filtered
            else "No stores yet. To create one: storefleet stores create NAME"
        )
    report_more_rows(page)


@command(app, "get", formats=ALL_FORMATS)
def show_store(cli: CommandContext, store: StoreArgument) -> None:
    """Show a store."""
    _write_store(cli, _fetch_store(cli.api, store), result=None)


@command(app, "watch", formats=ALL_FORMATS)
def watch_store(cli: CommandContext, store: StoreArgument, timeout: TimeoutOption = 900) -> None:
    """Watch the operations of a store until they end."""
    found = _fetch_store(cli.api, store)
    operation, seen = _fetch_latest_operation(cli.api, found["id"]), ""
    while operation is not None and operation["id"] != seen:
        operation = watch_operation(cli, operation, name=found["name"], timeout_s=timeout)
        seen = operation["id"]
        # A deletion may have been queued behind this operation.
        latest = _fetch_latest_operation(cli.api, found["id"])
        operation = latest if latest is not None and not latest["done"] else operation
    found = _fetch_store(cli.api, found["id"])
    if operation is not None and operation["state"] != "succeeded" and found["state"] == "failed":
        if cli.writer.is_structured:
            _write_store(cli, found, result=None)
        check_success(operation, name=found["name"], request_id=None)
    _write_store(cli, found, result=None)


@command(app, "credentials", formats=PLAIN_FORMATS)
def reveal_credentials(cli: CommandContext, store: StoreArgument) -> None:
    """Reveal the admin credentials of a store; every reveal is logged."""
    credentials = cli.api.send("POST", make_store_path(store) + "/credentials").body
    fields = {
        "Admin": credentials["admin_url"],
        "User": credentials["username"],
        "Password": credentials["password"],
    }
    cli.writer.write(credentials, make_table=lambda: format_fields(fields))


@command(app, "logs", formats=PLAIN_FORMATS)
def show_logs(
    cli: CommandContext,
    store: StoreArgument,
    tail: Annotated[
        int, typer.Option("--tail", min=1, max=1000, help="Number of lines, from the end.")
    ] = 100,
) -> None:
    """Print the latest log lines of a store."""
    page = cli.api.get(make_store_path(store) + "/logs", {"tail": tail})
    cli.writer.write(page, make_table=lambda: [sanitize_text(line) for line in page["data"]])


@command(app, "delete", formats=ALL_FORMATS)
def delete_store(
    cli: CommandContext,
    store: StoreArgument,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="NAME", help="The store's name, to confirm."),
    ] = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Delete a store with its catalogue, orders and files."""
    found = _fetch_store(cli.api, store)
    _check_confirmation(found["name"], confirm)
    # By id: if the response is lost and the name goes to a new store in the meantime, the repeated
    # request must not delete that one.
    path = make_store_path(found["id"])
    response = cli.api.send("DELETE", path, repeatable=True, pauses_s=LONG_RETRY_PAUSES_S)
    finish_request(cli, response, wait=wait, timeout_s=timeout)


@command(app, "retry", formats=ALL_FORMATS)
def retry_store(
    cli: CommandContext,
    store: StoreArgument,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Retry the failed operation of a store; completed steps are kept."""
    response = cli.api.send("POST", make_store_path(store) + "/retry")
    finish_request(cli, response, wait=wait, timeout_s=timeout)


def finish_request(
    cli: CommandContext, response: ApiResponse, *, wait: bool | None, timeout_s: float
) -> None:
    """Write an accepted operation, or wait for its end and write the result.

    Args:
        cli: The command's context.
        response: The API's response with `store` and `operation`.
        wait: Whether to wait; None waits on a terminal only.
        timeout_s: The maximum wait in seconds.

    Raises:
        OperationFailed: The operation did not succeed; JSON and YAML were written before.
        TimedOut: The operation did not end in time; it continues.
        Interrupted: The user pressed Ctrl-C; the operation continues.
    """
    result = response.body
    store, operation = result["store"], result["operation"]
    if not (is_terminal() if wait is None else wait):
        _write_store(cli, store, result=result)
        messages.write(f"Accepted. To watch it: storefleet operations watch {operation['id']}")
        return
    operation = watch_operation(
        cli, operation, name=store["name"], timeout_s=timeout_s, request_id=response.request_id
    )
    store = _fetch_store(cli.api, store["id"])
    result = {"store": store, "operation": operation}
    try:
        check_success(operation, name=store["name"], request_id=response.request_id)
    except OperationFailed:
        if cli.writer.is_structured:
            _write_store(cli, store, result=result)
        raise
    _write_store(cli, store, result=result)


def _check_confirmation(name: str, confirm: str | None) -> None:
    if confirm is None and is_terminal() and sys.stdin.isatty():
        messages.write(f"This deletes the store {name} with its catalogue, orders and files.")
        print("Type its name to continue: ", end="", file=sys.stderr, flush=True)
        confirm = sys.stdin.readline().strip()
    if confirm is None:
        raise UsageError(
            "A deletion must be confirmed with the store's name.",
            next_step=f"storefleet stores delete {name} --confirm {name}",
            code="confirm_missing",
        )
    if confirm != name:
        raise UsageError(
            f"The store's name is “{name}”, not “{confirm[:60]}”; nothing was deleted.",
            next_step=f"storefleet stores delete {name} --confirm {name}",
            code="confirm_mismatch",
        )


def _write_store(cli: CommandContext, store: dict[str, Any], *, result: Any) -> None:
    cli.writer.write(
        store if result is None else result,
        make_table=lambda: _format_store(store),
        names=[_get_reference(store)],
    )


def _make_row(store: dict[str, Any]) -> tuple[object, ...]:
    return (
        store["name"],
        store["state"],
        format_storefront(store),
        store["engine"],
        store["url"],
        format_age(store["created_at"]),
        store["id"],
    )


def _format_store(store: dict[str, Any]) -> list[str]:
    failure, is_deleted = store.get("failure") or {}, store["state"] == "deleted"
    problem = find_problem(store)
    lines = format_fields(
        {
            "Name": store["name"],
            "State": store["state"],
            "Storefront": format_storefront(store, with_time=True),
            "Scheduled tasks": format_cron(store),
            "URL": None if is_deleted else store["url"],
            "Admin": None if is_deleted else store["admin_url"],
            "Engine": f"{store['engine']} {store['engine_version']}",
            "Plan": store.get("plan"),
            "Failure": failure.get("detail"),
            "Meaning": problem.meaning if problem else None,
            "Next": failure.get("next") or (problem.next_step if problem else None),
            "Age": format_age(store["created_at"]),
            "Id": store["id"],
        }
    )
    if store["state"] == "ready":
        lines.append(f"Admin credentials: storefleet stores credentials {store['name']}")
    return lines


def _get_reference(store: dict[str, Any]) -> str:
    """Return what other commands take: a deleted store's name may belong to a new store."""
    return str(store["id"] if store["state"] == "deleted" else store["name"])


def make_store_path(store: str) -> str:
    """Build the path of a store.

    Args:
        store: A name or an id, as typed.

    Returns:
        The path below `/api/v1`.

    Raises:
        UsageError: The text is empty or would leave the path segment.
    """
    if not store or store in (".", ".."):
        raise UsageError(
            "The name or id of a store is missing.", next_step="storefleet stores list"
        )
    check_kind(store, "sto")
    return make_path("stores", store)


def _fetch_store(api: GatewayClient, store: str) -> dict[str, Any]:
    body: dict[str, Any] = api.get(make_store_path(store))
    return body


def _fetch_latest_operation(api: GatewayClient, store_id: str) -> dict[str, Any] | None:
    found = api.get("/operations", {"store_id": store_id, "limit": 1})["data"]
    return found[0] if found else None


def report_more_rows(page: dict[str, Any]) -> None:
    """Write a message if a list was cut off."""
    if page["has_more"]:
        messages.write("More rows exist: use --limit N or --all.")
