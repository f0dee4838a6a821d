"""`storefleet tokens`: list, create and revoke API tokens."""

from typing import Annotated, Any

import typer

from storefleet.cli.client import make_path
from storefleet.cli.command import ALL_FORMATS, CommandContext, command
from storefleet.cli.formatting import format_age, format_fields, format_table
from storefleet.cli.output import messages
from storefleet.cli.typed_ids import check_id

app = typer.Typer(help="List, create and revoke API tokens.", no_args_is_help=True)


@command(app, "list", formats=ALL_FORMATS)
def list_tokens(cli: CommandContext) -> None:
    """List valid tokens, without their secrets."""
    page = cli.api.get("/tokens")
    rows = page["data"]
    headers = ("ID", "NAME", "PREFIX", "EXPIRES", "USED", "SCOPES")
    cli.writer.write(
        page,
        make_table=lambda: format_table(map(_make_row, rows), headers),
        names=[token["id"] for token in rows],
    )


@command(app, "create", formats=ALL_FORMATS)
def create_token(
    cli: CommandContext,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Purpose of the token.", show_default=False)
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Scope of the token; repeatable; by default all of yours."),
    ] = None,
    expires_in_days: Annotated[
        int, typer.Option("--expires-in-days", min=1, max=366, help="Lifetime in days.")
    ] = 90,
) -> None:
    """Create a token; its secret is shown only once."""
    body: dict[str, Any] = {"name": name, "expires_in_days": expires_in_days}
    if scope:
        body["scopes"] = scope
    token = cli.api.send("POST", "/tokens", body=body).body
    fields = {
        "Token": token["token"],
        "Id": token["id"],
        "Name": token["name"],
        "Scopes": ", ".join(token["scopes"]),
        "Expires": token["expires_at"],
    }
    cli.writer.write(token, make_table=lambda: format_fields(fields), names=[token["id"]])
    messages.write("Save the token now: it is not shown again.")


@command(app, "revoke")
def revoke_token(
    cli: CommandContext,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token (tok_…).")],
) -> None:
    """Revoke a token immediately."""
    check_id(token_id, "tok")
    cli.api.send("DELETE", make_path("tokens", token_id))
    messages.write(f"Revoked {token_id}.")


def _make_row(token: dict[str, Any]) -> tuple[object, ...]:
    expires = (token["expires_at"] or "never")[:10]
    last_used = format_age(token["last_used_at"]) if token["last_used_at"] else "never"
    scopes = ", ".join(token["scopes"])
    return token["id"], token["name"], token["prefix"], expires, last_used, scopes
