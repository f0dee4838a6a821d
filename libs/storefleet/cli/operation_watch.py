"""One operation, followed and shown: what `create`, `delete`, `retry` and both `watch` have in common."""

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
    """The ended operation; raises TimedOut, Interrupted."""
    try:
        with open_display(name) as shown:
            return OperationFollower(api=cli.api, access=cli.access).follow(
                operation, timeout_s=timeout_s, display=shown
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"Not watching any more; the {get_operation_noun(operation)} goes on.",
            code="interrupted",
            next_step=f"storefleet operations watch {operation['id']}",
            request_id=request_id,
        ) from None
    except TimedOut as error:
        error.request_id = request_id
        raise
