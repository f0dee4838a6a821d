"""`storefleet stores upgrade, rollback, history, usage`: what version a store has, and what it takes."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import WrongUse
from storefleet.cli.command import ALL, PLAIN, Cli, Everything, Limit, Timeout, Wait, command
from storefleet.cli.commands.stores import Ref, finish, store_path, tell_more
from storefleet.cli.formatting import age, columns, one_line
from storefleet.cli.output import messages


def register(app: typer.Typer) -> None:
    """Hang the commands beside those of stores."""
    command(app, "upgrade", formats=ALL)(upgrade)
    command(app, "rollback", formats=ALL)(rollback)
    command(app, "history", formats=PLAIN)(history)
    command(app, "usage", formats=PLAIN)(usage)


def upgrade(
    cli: Cli,
    store: Ref,
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION", help="One of storefleet engines list.", show_default=False
        ),
    ],
    wait: Wait = None,
    timeout: Timeout = 900,
) -> None:
    """Give a store another version; when that does not come up, the store goes back by itself."""
    answer = cli.api.send("POST", store_path(store) + "/upgrade", body={"version": version})
    finish(cli, answer, wait=wait, timeout=timeout)


def rollback(
    cli: Cli,
    store: Ref,
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
    wait: Wait = None,
    timeout: Timeout = 900,
) -> None:
    """Go back to the version before the last upgrade."""
    if discard_orders and not restore:
        raise WrongUse(
            "--discard-orders goes with --restore: without it no order is lost.",
            next_step=f"storefleet stores rollback {store} --restore --discard-orders",
            code="restore_missing",
        )
    body = {"restore": restore, "discard_orders": discard_orders}
    answer = cli.api.send("POST", store_path(store) + "/rollback", body=body)
    finish(cli, answer, wait=wait, timeout=timeout)


def history(cli: Cli, store: Ref, limit: Limit = 25, everything: Everything = False) -> None:
    """Tell who gave a store which version, newest first."""
    found = cli.api.listed(
        store_path(store) + "/history", {}, limit=None if everything else limit, mark="operation_id"
    )
    headers = ("WHAT", "FROM", "TO", "STATE", "BY", "AGE", "OPERATION")
    cli.out.write(found, table=lambda: columns([_row(entry) for entry in found["data"]], headers))
    for entry in found["data"]:
        if not cli.out.structured and entry["error"]:
            messages.say(f"{entry['operation_id']}: {one_line(entry['error']['detail'])}")
    tell_more(found)


def usage(cli: Cli, store: Ref) -> None:
    """Show what a store takes of its plan."""
    shape = cli.api.get(store_path(store) + "/usage")
    rows = [
        (each["name"], each["used"], each["hard"], _percent(each["share"]))
        for each in shape["resources"] or ()
    ]
    cli.out.write(
        shape, table=lambda: columns(rows, ("RESOURCE", "USED", "ALLOWED", "SHARE")) if rows else ()
    )
    if shape["resources"] is None:
        messages.say("Nothing limits this store, so nothing is counted.")
    elif shape["title"] and not cli.out.structured:
        messages.say(f"Plan: {one_line(shape['title'])}")


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    what = f"{entry['kind']} with its database" if entry["restore"] else entry["kind"]
    by, when = entry["by"]["name"], age(entry["created_at"])
    return what, entry["from"], entry["to"], entry["state"], by, when, entry["operation_id"]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
