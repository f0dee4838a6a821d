"""What the commands of `storefleet platform` share: options, logging, signals, errors."""

import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from storefleet.cli.cli_errors import CliError, Interrupted, TimedOut
from storefleet.cli.commands.local import load_settings

if TYPE_CHECKING:
    from storefleet.core.settings import Settings

OwnPasswordsOption = Annotated[
    Path | None,
    typer.Option(
        "--passwords",
        metavar="FOLDER",
        help="Mount of the secret storefleet-postgres, if the deployment runs its own PostgreSQL.",
    ),
]
WaitTimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, max=86_400, help="Maximum wait in seconds.")
]
_PASSWORD_FILE_PREFIX = "postgres_"
_Result = TypeVar("_Result")


def read_passwords(folder: Path) -> dict[str, str]:
    """Read the mounted secret of PostgreSQL.

    Args:
        folder: The folder with one file `postgres_<role>` per role.

    Returns:
        Passwords by role.

    Raises:
        CliError: The folder contains no password, or a file cannot be read.
    """
    from storefleet.deployment.servers import read_secret

    files = sorted(folder.glob(f"{_PASSWORD_FILE_PREFIX}*"))
    if not files:
        raise CliError(
            f"The folder {folder} contains no password of PostgreSQL.",
            code="deployment_problem",
            next_step="mount the secret storefleet-postgres there",
        )
    return translate_errors(
        lambda: {file.name.removeprefix(_PASSWORD_FILE_PREFIX): read_secret(file) for file in files}
    )


def configure_logging(name: str) -> "Settings":
    """Read the settings and configure JSON logs like those of the services.

    Args:
        name: The value of `service` in the log lines.

    Returns:
        The settings.

    Raises:
        UsageError: A setting is invalid.
    """
    from storefleet.observability import logs

    settings = load_settings()
    logs.configure_logging(name, settings.log_level)
    return settings


def run_until_signal(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine to its end or to SIGTERM, which a container's first process must handle.

    Args:
        work: The coroutine.

    Returns:
        Its result.

    Raises:
        CliError: A part of the deployment cannot be set up or started.
        TimedOut: A dependency was not ready in time.
        typer.Exit: SIGTERM was received.
    """
    import asyncio

    async def run_cancellable() -> _Result:
        task = asyncio.create_task(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return translate_errors(lambda: asyncio.run(run_cancellable()))
    except asyncio.CancelledError:
        raise typer.Exit(Interrupted.exit_code) from None


def translate_errors(action: Callable[[], _Result]) -> _Result:
    """Run an action and translate errors of the deployment to those of the command line.

    Args:
        action: The function to call.

    Returns:
        Its result.

    Raises:
        CliError: A part of the deployment cannot be set up or started.
        TimedOut: A dependency was not ready in time.
    """
    from storefleet.deployment.deployment_error import DependencyNotReady, DeploymentError
    from storefleet.node.node_error import NodeError

    try:
        return action()
    except DependencyNotReady as error:
        raise TimedOut(
            str(error),
            code="timeout",
            next_step="run `kubectl get pods`, then `kubectl logs` of the pod that is not ready",
        ) from None
    except (DeploymentError, NodeError) as error:
        raise CliError(
            str(error),
            code="deployment_problem",
            next_step="fix the cause above; the Job or pod restarts automatically",
        ) from error
