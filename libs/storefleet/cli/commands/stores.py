"""`storefleet stores`: make shops, look at them, take them away."""

import secrets
import sys
from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import Interrupted, OperationFailed, Unreachable, WrongUse
from storefleet.cli.client import PATIENT_PAUSES, Answer, Api, path_of
from storefleet.cli.command import ALL, PLAIN, Cli, Everything, Limit, Timeout, Wait, command
from storefleet.cli.formatting import age, columns, facts, safe
from storefleet.cli.operation_follower import check_success
from storefleet.cli.operation_watch import watch_operation
from storefleet.cli.output import is_terminal, messages
from storefleet.cli.parameters import read_parameters

app = typer.Typer(help="Create, list, watch and delete stores.", no_args_is_help=True)
Ref = Annotated[
    str, typer.Argument(metavar="STORE", help="Name or id of the store.", show_default=False)
]
_STATES = "requested, provisioning, ready, upgrading, rolling_back, failed, deleting or deleted"


@command(app, "create", formats=ALL)
def create(
    cli: Cli,
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
    wait: Wait = None,
    timeout: Timeout = 900,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="The same key never makes a second store."),
    ] = None,
) -> None:
    """Create a store."""
    chosen = {"name": name, "engine": engine, "version": version, "plan": plan}
    body: dict[str, Any] = {key: value for key, value in chosen.items() if value}
    if param:
        body["parameters"] = read_parameters(cli.api, param, engine)
    key = idempotency_key or secrets.token_hex(16)
    try:
        answer = cli.api.send(
            "POST", "/stores", body=body, key=key, repeatable=True, pauses=PATIENT_PAUSES
        )
    except (Unreachable, KeyboardInterrupt) as error:
        again = f"storefleet stores create {name} --idempotency-key {key} …: with this key it makes no second store"
        if isinstance(error, Unreachable):
            error.next_step = f"{error.next_step}; then: {again}"
            raise
        raise Interrupted(
            "It may have been accepted or not.", code="interrupted", next_step=again
        ) from None
    finish(cli, answer, wait=wait, timeout=timeout)


@command(app, "list", formats=ALL)
def list_stores(
    cli: Cli,
    state: Annotated[str | None, typer.Option("--state", help=f"Only: {_STATES}.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only names that contain this.")
    ] = None,
    limit: Limit = 25,
    everything: Everything = False,
) -> None:
    """List stores, newest first; deleted ones only with `--state deleted`."""
    found = cli.api.listed(
        "/stores", {"state": state, "q": search}, limit=None if everything else limit
    )
    rows = found["data"]
    cli.out.write(
        found,
        table=lambda: (
            columns(
                [
                    (s["name"], s["state"], s["engine"], s["url"], age(s["created_at"]), s["id"])
                    for s in rows
                ],
                ("NAME", "STATE", "ENGINE", "URL", "AGE", "ID"),
            )
            if rows
            else ()
        ),
        names=[_handle(store) for store in rows],
    )
    if not rows:
        messages.say(
            "No store matches."
            if state or search
            else "No stores yet: storefleet stores create NAME"
        )
    tell_more(found)


@command(app, "get", formats=ALL)
def get(cli: Cli, store: Ref) -> None:
    """Show one store."""
    _write(cli, _get(cli.api, store), shape=None)


@command(app, "watch", formats=ALL)
def watch(cli: Cli, store: Ref, timeout: Timeout = 900) -> None:
    """Watch what is being done to a store until it ends."""
    found = _get(cli.api, store)
    operation, seen = _latest(cli.api, found["id"]), ""
    while operation is not None and operation["id"] != seen:
        operation = watch_operation(cli, operation, name=found["name"], timeout=timeout)
        seen = operation["id"]
        follower = _latest(cli.api, found["id"])  # a deletion may have waited for this one
        operation = follower if follower is not None and not follower["done"] else operation
    found = _get(cli.api, found["id"])
    if operation is not None and operation["state"] != "succeeded" and found["state"] == "failed":
        if cli.out.structured:
            _write(cli, found, shape=None)
        check_success(operation, name=found["name"], request_id=None)
    _write(cli, found, shape=None)


@command(app, "credentials", formats=PLAIN)
def credentials(cli: Cli, store: Ref) -> None:
    """Reveal the sign-in of a store's admin; this is written to the audit log."""
    shape = cli.api.send("POST", store_path(store) + "/credentials").body
    pairs = {"Admin": shape["admin_url"], "User": shape["username"], "Password": shape["password"]}
    cli.out.write(shape, table=lambda: facts(pairs))


@command(app, "logs", formats=PLAIN)
def logs(
    cli: Cli,
    store: Ref,
    tail: Annotated[
        int, typer.Option("--tail", min=1, max=1000, help="How many lines, from the end.")
    ] = 100,
) -> None:
    """Print what a store wrote last."""
    shape = cli.api.get(store_path(store) + "/logs", {"tail": tail})
    cli.out.write(shape, table=lambda: [safe(line) for line in shape["data"]])


@command(app, "delete", formats=ALL)
def delete(
    cli: Cli,
    store: Ref,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="The store's name, typed out.")
    ] = None,
    wait: Wait = None,
    timeout: Timeout = 900,
) -> None:
    """Delete a store with everything in it."""
    found = _get(cli.api, store)
    _check_confirmed(found["name"], confirm)
    # By id: should the answer be lost and the name go to a new store meanwhile, the repeat must not meet that one.
    answer = cli.api.send("DELETE", store_path(found["id"]), repeatable=True, pauses=PATIENT_PAUSES)
    finish(cli, answer, wait=wait, timeout=timeout)


@command(app, "retry", formats=ALL)
def retry(cli: Cli, store: Ref, wait: Wait = None, timeout: Timeout = 900) -> None:
    """Run what failed again; what was done before is kept."""
    finish(cli, cli.api.send("POST", store_path(store) + "/retry"), wait=wait, timeout=timeout)


def finish(cli: Cli, answer: Answer, *, wait: bool | None, timeout: float) -> None:
    """Say what was accepted, or wait for its end and say that; raises OperationFailed after having written it."""
    shape = answer.body
    store, operation = shape["store"], shape["operation"]
    if not (is_terminal() if wait is None else wait):
        _write(cli, store, shape=shape)
        messages.say(f"Accepted; watch it: storefleet operations watch {operation['id']}")
        return
    operation = watch_operation(
        cli, operation, name=store["name"], timeout=timeout, request_id=answer.request_id
    )
    store = _get(cli.api, store["id"])
    shape = {"store": store, "operation": operation}
    try:
        check_success(operation, name=store["name"], request_id=answer.request_id)
    except OperationFailed:
        if cli.out.structured:
            _write(cli, store, shape=shape)
        raise
    _write(cli, store, shape=shape)


def _check_confirmed(name: str, confirm: str | None) -> None:
    if confirm is None and is_terminal() and sys.stdin.isatty():
        messages.say(f"This deletes {name} with its catalogue, orders and files.")
        print("Type its name to go on: ", end="", file=sys.stderr, flush=True)
        confirm = sys.stdin.readline().strip()
    if confirm is None:
        raise WrongUse(
            "Deleting needs the store's name once more.",
            next_step=f"storefleet stores delete {name} --confirm {name}",
            code="confirm_missing",
        )
    if confirm != name:
        raise WrongUse(
            f"The store's name is “{name}”, not “{confirm[:60]}”; nothing was deleted.",
            next_step=f"storefleet stores delete {name} --confirm {name}",
            code="confirm_mismatch",
        )


def _write(cli: Cli, store: dict[str, Any], *, shape: Any) -> None:
    cli.out.write(
        store if shape is None else shape, table=lambda: _facts(store), names=[_handle(store)]
    )


def _facts(store: dict[str, Any]) -> list[str]:
    failure, lives = store.get("failure") or {}, store["state"] != "deleted"
    lines = facts(
        {
            "Name": store["name"],
            "State": store["state"],
            "URL": store["url"] if lives else None,
            "Admin": store["admin_url"] if lives else None,
            "Engine": f"{store['engine']} {store['engine_version']}",
            "Plan": store.get("plan"),
            "Failure": failure.get("detail"),
            "Next": failure.get("next"),
            "Age": age(store["created_at"]),
            "Id": store["id"],
        }
    )
    if store["state"] == "ready":
        lines.append(f"Sign in to its admin with: storefleet stores credentials {store['name']}")
    return lines


def _handle(store: dict[str, Any]) -> str:
    """What other commands take for it: a deleted store's name may be another one's by now."""
    return str(store["id"] if store["state"] == "deleted" else store["name"])


def store_path(store: str) -> str:
    if not store or store in (".", ".."):
        raise WrongUse("A store's name or id is missing.", next_step="storefleet stores list")
    return path_of("stores", store)


def _get(api: Api, store: str) -> dict[str, Any]:
    body: dict[str, Any] = api.get(store_path(store))
    return body


def _latest(api: Api, store_id: str) -> dict[str, Any] | None:
    found = api.get("/operations", {"store_id": store_id, "limit": 1})["data"]
    return found[0] if found else None


def tell_more(found: dict[str, Any]) -> None:
    if found["has_more"]:
        messages.say("There is more: --limit N or --all")
