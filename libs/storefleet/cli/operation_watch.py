"""One operation, followed and shown: what `create`, `delete`, `retry` and both `watch` have in common."""

from typing import Any

from storefleet.cli.cli_errors import Interrupted, TimedOut
from storefleet.cli.command import Cli
from storefleet.cli.formatting import work
from storefleet.cli.operation_follower import Follower
from storefleet.cli.progress_display import display


def watch_operation(
    cli: Cli, operation: dict[str, Any], *, name: str, timeout: float, request_id: str | None = None
) -> dict[str, Any]:
    """The ended operation; raises TimedOut, Interrupted."""
    try:
        with display(name) as shown:
            return Follower(api=cli.api, access=cli.access).follow(
                operation, timeout=timeout, display=shown
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"Not watching any more; the {work(operation)} goes on.",
            code="interrupted",
            next_step=f"storefleet operations watch {operation['id']}",
            request_id=request_id,
        ) from None
    except TimedOut as error:
        error.request_id = request_id
        raise
