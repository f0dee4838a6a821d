"""Follow an operation to its end: by events where possible, and by polling.

Polling alone is sufficient; events only shorten the delay. A failed event stream therefore never
changes a command's outcome.
"""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from storefleet.cli.cli_errors import (
    ApiProblem,
    CliError,
    OperationFailed,
    ServiceUnreachable,
    TimedOut,
)
from storefleet.cli.client import GatewayClient, make_path
from storefleet.cli.endpoint import ApiAccess
from storefleet.cli.formatting import format_duration, get_operation_noun
from storefleet.cli.output import messages

if TYPE_CHECKING:
    from storefleet.cli.event_stream import BackgroundEventStream

Operation = dict[str, Any]
_POLL_WAIT_S = 1
_MAX_SILENCE_S = 3.0
_UNAVAILABLE_PAUSE_S = 0.5


class ProgressDisplay(Protocol):
    """Shows the progress of an operation."""

    def show(self, operation: Operation) -> None:
        """Show the current state."""
        ...

    def show_notice(self, text: str) -> None:
        """Show a notice until the next state arrives."""
        ...


class OperationFollower:
    """Waits for one operation.

    A background thread reads events and puts the operation's states into a queue. The calling
    thread reads the queue, and polls while the event stream is silent or disconnected.

    Args:
        api: The client to poll with.
        access: URLs and token for the event stream.
        use_events: Whether to open an event stream.
    """

    def __init__(self, *, api: GatewayClient, access: ApiAccess, use_events: bool = True) -> None:
        self._api = api
        self._access = access
        self._use_events = use_events
        self._received: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._is_live = False

    def follow(
        self, operation: Operation, *, timeout_s: float, display: ProgressDisplay
    ) -> Operation:
        """Show an operation until it ends.

        Args:
            operation: The operation as the API returned it.
            timeout_s: The maximum wait in seconds.
            display: Where states and notices are shown.

        Returns:
            The operation after its end.

        Raises:
            TimedOut: The operation did not end in time; it continues.
            ApiProblem: The API rejected a poll with a status below 500.
        """
        deadline_s = time.monotonic() + timeout_s
        display.show(operation)
        if operation["done"]:
            return operation
        with self._receive_events(operation["id"]):
            return self._follow_until_done(operation, deadline_s, timeout_s, display)

    def _follow_until_done(
        self, operation: Operation, deadline_s: float, timeout_s: float, display: ProgressDisplay
    ) -> Operation:
        while not operation["done"]:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimedOut(
                    f"The {get_operation_noun(operation)} did not end within "
                    f"{format_duration(timeout_s)}; it continues.",
                    code="timeout",
                    next_step=f"storefleet operations watch {operation['id']}",
                )
            operation = self._read_next_state(operation, left_s, display)
            display.show(operation)
        return operation

    def _read_next_state(
        self, operation: Operation, left_s: float, display: ProgressDisplay
    ) -> Operation:
        """Return the newest state, at the latest after a few seconds without a change."""
        if self._is_live:
            try:
                received = self._received.get(timeout=min(_MAX_SILENCE_S, left_s))
            except queue.Empty:
                received = None  # a silent stream may be broken: poll
            if received is not None:
                return received
        wait_s = 0 if self._is_live else min(_POLL_WAIT_S, int(left_s) + 1)
        return self._poll_operation(operation, wait_s, left_s, display)

    def _poll_operation(
        self, operation: Operation, wait_s: int, left_s: float, display: ProgressDisplay
    ) -> Operation:
        try:
            state: Operation = self._api.get(
                make_path("operations", operation["id"]), {"wait": wait_s or None}, wait_s=wait_s
            )
        except (ServiceUnreachable, ApiProblem) as error:
            if isinstance(error, ApiProblem) and error.status < 500 and error.status != 429:
                raise
            display.show_notice("the gateway does not answer; the operation continues, retrying")
            time.sleep(min(_UNAVAILABLE_PAUSE_S, left_s))
            return operation
        return state

    @contextmanager
    def _receive_events(self, operation_id: str) -> Iterator[None]:
        background = self._make_background_stream(operation_id) if self._use_events else None
        if background is None:
            yield
            return
        background.start()
        try:
            yield
        finally:
            background.close()

    def _make_background_stream(self, operation_id: str) -> "BackgroundEventStream | None":
        # This imports aiohttp, which only a waiting command needs.
        from storefleet.cli.event_stream import BackgroundEventStream, EventStream

        def handle_frame(frame: dict[str, Any]) -> None:
            operation = (frame.get("data") or {}).get("operation")
            is_ours = frame.get("operation_id") == operation_id
            if is_ours and isinstance(operation, dict) and "done" in operation:
                self._received.put(operation)

        try:
            stream = EventStream(
                self._access,
                after=None,
                on_connection_change=self._handle_connection_change,
                retry_forever=True,
            )
        except CliError as error:
            self._handle_connection_change(False, str(error))
            return None
        return BackgroundEventStream(
            stream, handle_frame, lambda reason: self._handle_connection_change(False, reason)
        )

    def _handle_connection_change(self, is_live: bool, reason: str) -> None:
        """Wake the waiting thread to poll: an event may have been missed while disconnected."""
        self._is_live = is_live
        self._received.put(None)
        messages.write_debug("events: connected" if is_live else f"events: {reason}")


def check_success(operation: Operation, *, name: str, request_id: str | None) -> None:
    """Raise an error for an operation that failed or was cancelled.

    Args:
        operation: The operation after its end.
        name: The store's name.
        request_id: The request that created the operation.

    Raises:
        OperationFailed: The operation did not succeed; the text has cause and next step.
    """
    if operation["state"] == "succeeded":
        return
    error = operation.get("error") or {}
    noun = get_operation_noun(operation)
    if operation["state"] == "cancelled":
        raise OperationFailed(
            f"The {noun} of {name} was cancelled.",
            code=str(error.get("code") or "cancelled"),
            next_step=f"storefleet stores get {name}",
            request_id=request_id,
        )
    step = f" in step “{error['step']}”" if error.get("step") else ""
    cause = error.get("detail") or "no reason is recorded"
    advice = str(error.get("next") or "read the store's log").rstrip(".")
    command = f"; then: {_suggest_command(operation, name)}" if error.get("retryable", True) else ""
    raise OperationFailed(
        f"The {noun} of {name} failed{step}: {cause}",
        code=str(error.get("code") or "operation_failed"),
        next_step=f"{advice}{command}",
        request_id=request_id,
    )


def _suggest_command(operation: Operation, name: str) -> str:
    """Return the command that repeats the operation.

    After an automatic rollback, and after a rollback that changed nothing, the store is ready:
    the command is then a new request, not a retry.
    """
    code = (operation.get("error") or {}).get("code")
    request = operation.get("input") or {}
    if operation["kind"] == "upgrade" and code != "rollback_failed":
        return f"storefleet stores upgrade {name} {request.get('to', 'VERSION')}"
    if code == "orders_would_be_lost":
        return f"storefleet stores rollback {name} --restore --discard-orders"
    return f"storefleet stores retry {name}"
