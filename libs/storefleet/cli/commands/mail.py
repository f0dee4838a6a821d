"""`storefleet stores mail`: list and open the mails that a store kept instead of sending them."""

from typing import Annotated

import typer

from storefleet.cli.client import make_path
from storefleet.cli.command import (
    PLAIN_FORMATS,
    AllOption,
    CommandContext,
    LimitOption,
    command,
)
from storefleet.cli.commands.stores import StoreArgument, make_store_path, report_more_rows
from storefleet.cli.mails import format_mail, format_mail_list
from storefleet.cli.output import messages


def register_commands(app: typer.Typer) -> None:
    """Add the command to the group `stores`."""
    command(app, "mail", formats=PLAIN_FORMATS)(show_mail)


def show_mail(
    cli: CommandContext,
    store: StoreArgument,
    mail_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[MAIL_ID]",
            help="Id of a mail to open; without it the mails are listed.",
            show_default=False,
        ),
    ] = None,
    limit: LimitOption = 25,
    all_rows: AllOption = False,
) -> None:
    """List the mails that a store kept instead of sending them, or open one; that is logged."""
    path = make_store_path(store) + "/mail"
    if mail_id is not None:
        mail = cli.api.get(path + make_path(mail_id))
        cli.writer.write(mail, make_table=lambda: format_mail(mail))
        return
    page = cli.api.list_rows(path, {}, max_rows=None if all_rows else limit)
    rows = page["data"]
    cli.writer.write(page, make_table=lambda: format_mail_list(rows))
    if not rows:
        messages.write("No mails yet. What the store would have sent is listed here.")
    report_more_rows(page)
