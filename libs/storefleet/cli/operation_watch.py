"""Follow one operation and show its progress, for all commands that wait."""

from typing import Any

from storefleet.cli.cli_errors import Interrupted, TimedOut
from storefleet.cli.command import CommandContext
from storefleet.cli.formatting import get_operation_noun
from storefleet.cli.operation_follower import OperationFollower
from storefleet.cli.progress_display import open_display


def watch_operation(
    cli: CommandContext,
    operation: dict[str, Any],
    *,
    name: str,
    timeout_s: float,
    request_id: str | None = None,
) -> dict[str, Any]:
    """Show an operation until it ends.

    Args:
        cli: The command's context.
        operation: The operation as the API returned it.
        name: The store's name, for the display.
        timeout_s: The maximum wait in seconds.
        request_id: The request that created the operation, for the errors.

    Returns:
        The operation after its end.

    Raises:
        TimedOut: The operation did not end in time; it continues.
        Interrupted: The user pressed Ctrl-C; the operation continues.
    """
    try:
        with open_display(name) as display:
            return OperationFollower(api=cli.api, access=cli.access).follow(
                operation, timeout_s=timeout_s, display=display
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped watching; the {get_operation_noun(operation)} continues.",
            code="interrupted",
            next_step=f"storefleet operations watch {operation['id']}",
            request_id=request_id,
        ) from None
    except TimedOut as error:
        error.request_id = request_id
        raise
