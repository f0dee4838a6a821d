"""`storefleet stores`: make shops, look at them, take them away."""

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
from storefleet.cli.operation_follower import check_success
from storefleet.cli.operation_watch import watch_operation
from storefleet.cli.output import is_terminal, messages
from storefleet.cli.parameters import parse_parameters

app = typer.Typer(help="Create, list, watch and delete stores.", no_args_is_help=True)
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
        typer.Argument(metavar="NAME", help="3 to 40 of a-z, 0-9 and hyphens.", show_default=False),
    ],
    engine: Annotated[
        str | None, typer.Option("--engine", help="Kind of shop: storefleet engines list.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Of the engine; the default one unless given.")
    ] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", help="How much it may take: storefleet engines list.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", help="A parameter of the engine; repeatable."),
    ] = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="The same key never makes a second store."),
    ] = None,
) -> None:
    """Create a store."""
    chosen = {"name": name, "engine": engine, "version": version, "plan": plan}
    body: dict[str, Any] = {key: value for key, value in chosen.items() if value}
    if param:
        body["parameters"] = parse_parameters(cli.api, param, engine)
    key = idempotency_key or secrets.token_hex(16)
    try:
        answer = cli.api.send(
            "POST",
            "/stores",
            body=body,
            idempotency_key=key,
            repeatable=True,
            pauses_s=LONG_RETRY_PAUSES_S,
        )
    except (ServiceUnreachable, KeyboardInterrupt) as error:
        again = f"storefleet stores create {name} --idempotency-key {key} …: with this key it makes no second store"
        if isinstance(error, ServiceUnreachable):
            error.next_step = f"{error.next_step}; then: {again}"
            raise
        raise Interrupted(
            "It may have been accepted or not.", code="interrupted", next_step=again
        ) from None
    finish_request(cli, answer, wait=wait, timeout_s=timeout)


@command(app, "list", formats=ALL_FORMATS)
def list_stores(
    cli: CommandContext,
    state: Annotated[str | None, typer.Option("--state", help=f"Only: {_STATE_NAMES}.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only names that contain this.")
    ] = None,
    limit: LimitOption = 25,
    all_rows: AllOption = False,
) -> None:
    """List stores, newest first; deleted ones only with `--state deleted`."""
    found = cli.api.list_rows(
        "/stores", {"state": state, "q": search}, max_rows=None if all_rows else limit
    )
    rows = found["data"]
    cli.writer.write(
        found,
        make_table=lambda: (
            format_table(
                [
                    (
                        s["name"],
                        s["state"],
                        s["engine"],
                        s["url"],
                        format_age(s["created_at"]),
                        s["id"],
                    )
                    for s in rows
                ],
                ("NAME", "STATE", "ENGINE", "URL", "AGE", "ID"),
            )
            if rows
            else ()
        ),
        names=[_get_reference(store) for store in rows],
    )
    if not rows:
        messages.write(
            "No store matches."
            if state or search
            else "No stores yet: storefleet stores create NAME"
        )
    report_more_rows(found)


@command(app, "get", formats=ALL_FORMATS)
def show_store(cli: CommandContext, store: StoreArgument) -> None:
    """Show one store."""
    _write_store(cli, _fetch_store(cli.api, store), result=None)


@command(app, "watch", formats=ALL_FORMATS)
def watch_store(cli: CommandContext, store: StoreArgument, timeout: TimeoutOption = 900) -> None:
    """Watch what is being done to a store until it ends."""
    found = _fetch_store(cli.api, store)
    operation, seen = _fetch_latest_operation(cli.api, found["id"]), ""
    while operation is not None and operation["id"] != seen:
        operation = watch_operation(cli, operation, name=found["name"], timeout_s=timeout)
        seen = operation["id"]
        follower = _fetch_latest_operation(
            cli.api, found["id"]
        )  # a deletion may have waited for this one
        operation = follower if follower is not None and not follower["done"] else operation
    found = _fetch_store(cli.api, found["id"])
    if operation is not None and operation["state"] != "succeeded" and found["state"] == "failed":
        if cli.writer.is_structured:
            _write_store(cli, found, result=None)
        check_success(operation, name=found["name"], request_id=None)
    _write_store(cli, found, result=None)


@command(app, "credentials", formats=PLAIN_FORMATS)
def reveal_credentials(cli: CommandContext, store: StoreArgument) -> None:
    """Reveal the sign-in of a store's admin; this is written to the audit log."""
    shape = cli.api.send("POST", make_store_path(store) + "/credentials").body
    pairs = {"Admin": shape["admin_url"], "User": shape["username"], "Password": shape["password"]}
    cli.writer.write(shape, make_table=lambda: format_fields(pairs))


@command(app, "logs", formats=PLAIN_FORMATS)
def show_logs(
    cli: CommandContext,
    store: StoreArgument,
    tail: Annotated[
        int, typer.Option("--tail", min=1, max=1000, help="How many lines, from the end.")
    ] = 100,
) -> None:
    """Print what a store wrote last."""
    shape = cli.api.get(make_store_path(store) + "/logs", {"tail": tail})
    cli.writer.write(shape, make_table=lambda: [sanitize_text(line) for line in shape["data"]])


@command(app, "delete", formats=ALL_FORMATS)
def delete_store(
    cli: CommandContext,
    store: StoreArgument,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="The store's name, typed out.")
    ] = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = 900,
) -> None:
    """Delete a store with everything in it."""
    found = _fetch_store(cli.api, store)
    _check_confirmation(found["name"], confirm)
    # By id: should the answer be lost and the name go to a new store meanwhile, the repeat must not meet that one.
    answer = cli.api.send(
        "DELETE", make_store_path(found["id"]), repeatable=True, pauses_s=LONG_RETRY_PAUSES_S
    )
    finish_request(cli, answer, wait=wait, timeout_s=timeout)


@command(app, "retry", formats=ALL_FORMATS)
def retry_store(
    cli: CommandContext, store: StoreArgument, wait: WaitOption = None, timeout: TimeoutOption = 900
) -> None:
    """Run what failed again; what was done before is kept."""
    finish_request(
        cli, cli.api.send("POST", make_store_path(store) + "/retry"), wait=wait, timeout_s=timeout
    )


def finish_request(
    cli: CommandContext, answer: ApiResponse, *, wait: bool | None, timeout_s: float
) -> None:
    """Say what was accepted, or wait for its end and say that; raises OperationFailed after having written it."""
    shape = answer.body
    store, operation = shape["store"], shape["operation"]
    if not (is_terminal() if wait is None else wait):
        _write_store(cli, store, result=shape)
        messages.write(f"Accepted; watch it: storefleet operations watch {operation['id']}")
        return
    operation = watch_operation(
        cli, operation, name=store["name"], timeout_s=timeout_s, request_id=answer.request_id
    )
    store = _fetch_store(cli.api, store["id"])
    shape = {"store": store, "operation": operation}
    try:
        check_success(operation, name=store["name"], request_id=answer.request_id)
    except OperationFailed:
        if cli.writer.is_structured:
            _write_store(cli, store, result=shape)
        raise
    _write_store(cli, store, result=shape)


def _check_confirmation(name: str, confirm: str | None) -> None:
    if confirm is None and is_terminal() and sys.stdin.isatty():
        messages.write(f"This deletes {name} with its catalogue, orders and files.")
        print("Type its name to go on: ", end="", file=sys.stderr, flush=True)
        confirm = sys.stdin.readline().strip()
    if confirm is None:
        raise UsageError(
            "Deleting needs the store's name once more.",
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


def _format_store(store: dict[str, Any]) -> list[str]:
    failure, lives = store.get("failure") or {}, store["state"] != "deleted"
    lines = format_fields(
        {
            "Name": store["name"],
            "State": store["state"],
            "URL": store["url"] if lives else None,
            "Admin": store["admin_url"] if lives else None,
            "Engine": f"{store['engine']} {store['engine_version']}",
            "Plan": store.get("plan"),
            "Failure": failure.get("detail"),
            "Next": failure.get("next"),
            "Age": format_age(store["created_at"]),
            "Id": store["id"],
        }
    )
    if store["state"] == "ready":
        lines.append(f"Sign in to its admin with: storefleet stores credentials {store['name']}")
    return lines


def _get_reference(store: dict[str, Any]) -> str:
    """What other commands take for it: a deleted store's name may be another one's by now."""
    return str(store["id"] if store["state"] == "deleted" else store["name"])


def make_store_path(store: str) -> str:
    if not store or store in (".", ".."):
        raise UsageError("A store's name or id is missing.", next_step="storefleet stores list")
    return make_path("stores", store)


def _fetch_store(api: GatewayClient, store: str) -> dict[str, Any]:
    body: dict[str, Any] = api.get(make_store_path(store))
    return body


def _fetch_latest_operation(api: GatewayClient, store_id: str) -> dict[str, Any] | None:
    found = api.get("/operations", {"store_id": store_id, "limit": 1})["data"]
    return found[0] if found else None


def report_more_rows(found: dict[str, Any]) -> None:
    if found["has_more"]:
        messages.write("There is more: --limit N or --all")
