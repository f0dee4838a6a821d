"""`storefleet engines`: the kinds of shop there are."""

from typing import Any

import typer

from storefleet.cli.command import ALL, Cli, command
from storefleet.cli.formatting import columns

app = typer.Typer(help="See which kinds of shop there are.", no_args_is_help=True)


@command(app, "list", formats=ALL)
def list_engines(cli: Cli) -> None:
    """List engines with their versions, plans and parameters."""
    shape = cli.api.get("/engines")
    rows = shape["data"]
    cli.out.write(
        shape,
        table=lambda: columns(
            [_row(engine) for engine in rows], ("NAME", "VERSIONS", "PLANS", "PARAMETERS", "TITLE")
        ),
        names=[engine["name"] for engine in rows],
    )


def _row(engine: dict[str, Any]) -> tuple[object, ...]:
    versions = ", ".join(version["version"] for version in engine["versions"])
    plans = ", ".join(plan["name"] for plan in engine.get("plans") or ())
    parameters = ", ".join((engine.get("parameters") or {}).get("properties") or {})
    return engine["name"], versions, plans, parameters, engine["title"]
