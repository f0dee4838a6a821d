"""`storefleet engines`: list the engines of the catalogue."""

from typing import Any

import typer

from storefleet.cli.command import ALL_FORMATS, CommandContext, command
from storefleet.cli.formatting import format_table

app = typer.Typer(help="List the available engines.", no_args_is_help=True)
_HEADERS = ("NAME", "VERSIONS", "PLANS", "PARAMETERS", "TITLE")


@command(app, "list", formats=ALL_FORMATS)
def list_engines(cli: CommandContext) -> None:
    """List engines with their versions, plans and parameters."""
    page = cli.api.get("/engines")
    rows = page["data"]
    cli.writer.write(
        page,
        make_table=lambda: format_table(map(_make_row, rows), _HEADERS),
        names=[engine["name"] for engine in rows],
    )


def _make_row(engine: dict[str, Any]) -> tuple[object, ...]:
    versions = ", ".join(version["version"] for version in engine["versions"])
    plans = ", ".join(plan["name"] for plan in engine.get("plans") or ())
    parameters = ", ".join((engine.get("parameters") or {}).get("properties") or {})
    return engine["name"], versions, plans, parameters, engine["title"]
