"""`storefleet tokens`: access for programs."""

from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import UsageError
from storefleet.cli.client import make_path
from storefleet.cli.command import ALL_FORMATS, CommandContext, command
from storefleet.cli.formatting import format_age, format_fields, format_table
from storefleet.cli.output import messages

app = typer.Typer(help="Make and revoke API tokens.", no_args_is_help=True)


@command(app, "list", formats=ALL_FORMATS)
def list_tokens(cli: CommandContext) -> None:
    """List the tokens that are valid, without their secrets."""
    shape = cli.api.get("/tokens")
    rows = shape["data"]
    headers = ("ID", "NAME", "BEGINS", "EXPIRES", "USED", "SCOPES")
    cli.writer.write(
        shape,
        make_table=lambda: format_table([_make_row(token) for token in rows], headers),
        names=[token["id"] for token in rows],
    )


@command(app, "create", formats=ALL_FORMATS)
def create_token(
    cli: CommandContext,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is for.", show_default=False)
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may do; repeatable, all of yours without it."),
    ] = None,
    expires_in_days: Annotated[int, typer.Option("--expires-in-days", min=1, max=366)] = 90,
) -> None:
    """Make a token; its secret is shown this one time."""
    body: dict[str, Any] = {"name": name, "expires_in_days": expires_in_days}
    if scope:
        body["scopes"] = scope
    shape = cli.api.send("POST", "/tokens", body=body).body
    pairs = {
        "Token": shape["token"],
        "Id": shape["id"],
        "Name": shape["name"],
        "Scopes": ", ".join(shape["scopes"]),
        "Expires": shape["expires_at"],
    }
    cli.writer.write(shape, make_table=lambda: format_fields(pairs), names=[shape["id"]])
    messages.write("Keep the token now: it is not shown again.")


@command(app, "revoke")
def revoke_token(
    cli: CommandContext,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, tok_….")],
) -> None:
    """Make a token invalid at once."""
    if not token_id.startswith("tok_"):
        raise UsageError("A token is revoked by its id, tok_….", next_step="storefleet tokens list")
    cli.api.send("DELETE", make_path("tokens", token_id))
    messages.write(f"Revoked {token_id}.")


def _make_row(token: dict[str, Any]) -> tuple[object, ...]:
    expires = (token["expires_at"] or "never")[:10]
    used = format_age(token["last_used_at"]) if token["last_used_at"] else "never"
    return token["id"], token["name"], token["prefix"], expires, used, ", ".join(token["scopes"])
