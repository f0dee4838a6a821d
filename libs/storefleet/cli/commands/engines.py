"""`storefleet engines`: the kinds of shop there are."""

from typing import Any

import typer

from storefleet.cli.command import ALL_FORMATS, CommandContext, command
from storefleet.cli.formatting import format_table

app = typer.Typer(help="See which kinds of shop there are.", no_args_is_help=True)


@command(app, "list", formats=ALL_FORMATS)
def list_engines(cli: CommandContext) -> None:
    """List engines with their versions, plans and parameters."""
    shape = cli.api.get("/engines")
    rows = shape["data"]
    cli.writer.write(
        shape,
        make_table=lambda: format_table(
            [_make_row(engine) for engine in rows],
            ("NAME", "VERSIONS", "PLANS", "PARAMETERS", "TITLE"),
        ),
        names=[engine["name"] for engine in rows],
    )


def _make_row(engine: dict[str, Any]) -> tuple[object, ...]:
    versions = ", ".join(version["version"] for version in engine["versions"])
    plans = ", ".join(plan["name"] for plan in engine.get("plans") or ())
    parameters = ", ".join((engine.get("parameters") or {}).get("properties") or {})
    return engine["name"], versions, plans, parameters, engine["title"]
