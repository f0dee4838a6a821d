"""Follows an operation to its end: live from the event stream, and by asking, which alone is enough."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

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

Operation = dict[str, Any]
_POLL_WAIT_S = 1
_MAX_SILENCE_S = 3.0
_UNAVAILABLE_PAUSE_S = 0.5


class ProgressDisplay(Protocol):
    """Shows an operation as it goes on."""

    def show(self, operation: Operation) -> None: ...

    def show_notice(self, text: str) -> None: ...


class OperationFollower:
    """Waits for one operation; what is heard and what is asked for meet in one queue, read by the calling thread."""

    def __init__(self, *, api: GatewayClient, access: ApiAccess, use_events: bool = True) -> None:
        self._api = api
        self._access = access
        self._use_events = use_events
        self._received: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._is_live = False

    def follow(
        self, operation: Operation, *, timeout_s: float, display: ProgressDisplay
    ) -> Operation:
        """The ended operation; raises TimedOut, NotAllowed."""
        deadline = time.monotonic() + timeout_s
        display.show(operation)
        if operation["done"]:
            return operation
        with self._receive_events(operation["id"]):
            return self._follow_until_done(operation, deadline, timeout_s, display)

    def _follow_until_done(
        self, operation: Operation, deadline_s: float, timeout_s: float, display: ProgressDisplay
    ) -> Operation:
        while not operation["done"]:
            left = deadline_s - time.monotonic()
            if left <= 0:
                raise TimedOut(
                    f"The {get_operation_noun(operation)} has not ended within {format_duration(timeout_s)}; it goes on.",
                    code="timeout",
                    next_step=f"storefleet operations watch {operation['id']}",
                )
            operation = self._read_next_state(operation, left, display)
            display.show(operation)
        return operation

    def _read_next_state(
        self, operation: Operation, left_s: float, display: ProgressDisplay
    ) -> Operation:
        """The newest state; comes back from time to time also when nothing has changed."""
        if self._is_live:
            try:
                heard = self._received.get(timeout=min(_MAX_SILENCE_S, left_s))
            except queue.Empty:
                heard = None  # silence proves nothing: ask
            if heard is not None:
                return heard
        return self._poll_operation(
            operation, 0 if self._is_live else min(_POLL_WAIT_S, int(left_s) + 1), left_s, display
        )

    def _poll_operation(
        self, operation: Operation, wait_s: int, left_s: float, display: ProgressDisplay
    ) -> Operation:
        try:
            answer: Operation = self._api.get(
                make_path("operations", operation["id"]), {"wait": wait_s or None}, wait_s=wait_s
            )
        except (ServiceUnreachable, ApiProblem) as error:
            if isinstance(error, ApiProblem) and error.status < 500 and error.status != 429:
                raise
            display.show_notice("the gateway does not answer; the work goes on, trying again")
            time.sleep(min(_UNAVAILABLE_PAUSE_S, left_s))
            return operation
        return answer

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

    def _make_background_stream(self, operation_id: str) -> Any:
        from storefleet.cli.event_stream import BackgroundEventStream, EventStream  # brings aiohttp

        def handle_frame(frame: dict[str, Any]) -> None:
            operation = (frame.get("data") or {}).get("operation")
            if (
                frame.get("operation_id") == operation_id
                and isinstance(operation, dict)
                and "done" in operation
            ):
                self._received.put(operation)

        def handle_connection_change(live: bool, why: str) -> None:
            self._set_live(live, why)

        try:
            stream = EventStream(
                self._access,
                after=None,
                on_connection_change=handle_connection_change,
                retry_forever=True,
            )
        except CliError as error:
            self._set_live(live=False, why=str(error))
            return None
        return BackgroundEventStream(
            stream, handle_frame, lambda why: self._set_live(live=False, why=why)
        )

    def _set_live(self, live: bool, why: str) -> None:
        """The line stands or is cut; either way the next look is a question, since something may have been missed."""
        self._is_live = live
        self._received.put(None)
        messages.write_debug("events: connected" if live else f"events: {why}")


def check_success(operation: Operation, *, name: str, request_id: str | None) -> None:
    """Raise OperationFailed for an operation that ended otherwise."""
    if operation["state"] == "succeeded":
        return
    error = operation.get("error") or {}
    if operation["state"] == "cancelled":
        raise OperationFailed(
            f"The {get_operation_noun(operation)} of {name} was cancelled.",
            code=str(error.get("code") or "cancelled"),
            next_step=f"storefleet stores get {name}",
            request_id=request_id,
        )
    step = f" in step “{error['step']}”" if error.get("step") else ""
    advice = str(error.get("next") or "look at its log").rstrip(".")
    again = f"; then: {_suggest_command(operation, name)}" if error.get("retryable", True) else ""
    raise OperationFailed(
        f"The {get_operation_noun(operation)} of {name} failed{step}: {error.get('detail') or 'no reason was given'}",
        code=str(error.get("code") or "operation_failed"),
        next_step=f"{advice}{again}",
        request_id=request_id,
    )


def _suggest_command(operation: Operation, name: str) -> str:
    """The command that tries it once more: a store that is back, or as it was, has nothing to retry."""
    code, asked = (operation.get("error") or {}).get("code"), operation.get("input") or {}
    if operation["kind"] == "upgrade" and code != "rollback_failed":
        return f"storefleet stores upgrade {name} {asked.get('to', 'VERSION')}"
    if code == "orders_would_be_lost":
        return f"storefleet stores rollback {name} --restore --discard-orders"
    return f"storefleet stores retry {name}"
