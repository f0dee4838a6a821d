"""One operation, followed and shown: what `create`, `delete`, `retry` and both `watch` have in common."""

from typing import Any

from storefleet.cli.command import Cli
from storefleet.cli.progress import display
from storefleet.cli.waiting import Follower


def watch_operation(cli: Cli, operation: dict[str, Any], *, name: str, timeout: float) -> dict[str, Any]:
    """The ended operation; raises TimedOut, Interrupted."""
    follower = Follower(api=cli.api, access=cli.access)
    with display(name) as shown:
        return follower.follow(operation, timeout=timeout, display=shown)
