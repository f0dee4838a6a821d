"""`storefleet platform backup, backups, restore`: backups of the platform's own database."""

from pathlib import Path
from typing import Annotated

import typer

from storefleet.cli.command import CommandContext, command
from storefleet.cli.deployment_command import (
    OwnPasswordsOption,
    WaitTimeoutOption,
    configure_logging,
    read_passwords,
    run_until_signal,
)
from storefleet.cli.output import messages

BackupsOption = Annotated[
    Path, typer.Option("--folder", metavar="FOLDER", help="Folder of the backups.")
]


def register_commands(app: typer.Typer) -> None:
    """Add the commands to the group `platform`."""
    command(app, "backup", uses_api=False)(back_up_platform)
    command(app, "backups", uses_api=False)(show_backups)
    command(app, "restore", uses_api=False)(restore_platform)


def back_up_platform(
    cli: CommandContext,
    folder: BackupsOption,
    keep: Annotated[
        int, typer.Option("--keep", min=1, max=10_000, help="Number of backups to keep.")
    ] = 14,
) -> None:
    """Back up the platform's database and delete the oldest backups."""
    del cli
    settings = configure_logging("backup")
    from storefleet.deployment.backups import create_backup

    database_url = settings.database_url.get_secret_value()
    backup = run_until_signal(create_backup(database_url, folder, keep_count=keep))
    messages.write(f"{backup.name}  {backup.size_bytes} bytes")


def show_backups(cli: CommandContext, folder: BackupsOption) -> None:
    """List backups, newest first."""
    del cli
    from storefleet.deployment.backups import list_backups

    for backup in list_backups(folder):
        messages.write(f"{backup.name}  {backup.size_bytes} bytes")


def restore_platform(
    cli: CommandContext,
    folder: BackupsOption,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            envvar="STOREFLEET_BACKUP",
            metavar="FILE",
            help="File name of the backup, or latest.",
        ),
    ],
    passwords: OwnPasswordsOption = None,
    timeout: WaitTimeoutOption = 600,
) -> None:
    """Replace the platform's database with a backup; stop the services first."""
    del cli
    settings = configure_logging("restore")
    from storefleet.deployment.setup import restore_database

    role_passwords = read_passwords(passwords) if passwords else {}
    restoration = restore_database(
        settings, folder, name, passwords=role_passwords, timeout_s=timeout
    )
    backup = run_until_signal(restoration)
    messages.write(f"Restored {backup.name}.")
