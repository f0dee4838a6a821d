"""Follows an operation to its end: live from the event stream, and by asking, which alone is enough."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from storefleet.cli.cli_errors import CliError, OperationFailed, Problem, TimedOut, Unreachable
from storefleet.cli.client import Api, path_of
from storefleet.cli.endpoint import Access
from storefleet.cli.formatting import duration, work
from storefleet.cli.output import messages

Operation = dict[str, Any]
_ASK_WAIT = 1
_SILENCE = 3.0
_AWAY_PAUSE = 0.5


class Display(Protocol):
    """Shows an operation as it goes on."""

    def show(self, operation: Operation) -> None: ...

    def note(self, text: str) -> None: ...


class Follower:
    """Waits for one operation; what is heard and what is asked for meet in one queue, read by the calling thread."""

    def __init__(self, *, api: Api, access: Access, stream: bool = True) -> None:
        self._api = api
        self._access = access
        self._wants_stream = stream
        self._heard: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._live = False

    def follow(self, operation: Operation, *, timeout: float, display: Display) -> Operation:
        """The ended operation; raises TimedOut, NotAllowed."""
        deadline = time.monotonic() + timeout
        display.show(operation)
        if operation["done"]:
            return operation
        with self._listening(operation["id"]):
            return self._until_done(operation, deadline, timeout, display)

    def _until_done(
        self, operation: Operation, deadline: float, timeout: float, display: Display
    ) -> Operation:
        while not operation["done"]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(
                    f"The {work(operation)} has not ended within {duration(timeout)}; it goes on.",
                    code="timeout",
                    next_step=f"storefleet operations watch {operation['id']}",
                )
            operation = self._next(operation, left, display)
            display.show(operation)
        return operation

    def _next(self, operation: Operation, left: float, display: Display) -> Operation:
        """The newest state; comes back from time to time also when nothing has changed."""
        if self._live:
            try:
                heard = self._heard.get(timeout=min(_SILENCE, left))
            except queue.Empty:
                heard = None  # silence proves nothing: ask
            if heard is not None:
                return heard
        return self._ask(
            operation, 0 if self._live else min(_ASK_WAIT, int(left) + 1), left, display
        )

    def _ask(self, operation: Operation, wait: int, left: float, display: Display) -> Operation:
        try:
            answer: Operation = self._api.get(
                path_of("operations", operation["id"]), {"wait": wait or None}, wait=wait
            )
        except (Unreachable, Problem) as error:
            if isinstance(error, Problem) and error.status < 500 and error.status != 429:
                raise
            display.note("the gateway does not answer; the work goes on, trying again")
            time.sleep(min(_AWAY_PAUSE, left))
            return operation
        return answer

    @contextmanager
    def _listening(self, operation_id: str) -> Iterator[None]:
        background = self._background(operation_id) if self._wants_stream else None
        if background is None:
            yield
            return
        background.start()
        try:
            yield
        finally:
            background.close()

    def _background(self, operation_id: str) -> Any:
        from storefleet.cli.event_stream import BackgroundStream, EventStream  # brings aiohttp

        def heard(frame: dict[str, Any]) -> None:
            operation = (frame.get("data") or {}).get("operation")
            if (
                frame.get("operation_id") == operation_id
                and isinstance(operation, dict)
                and "done" in operation
            ):
                self._heard.put(operation)

        def changed(live: bool, why: str) -> None:
            self._turn(live, why)

        try:
            stream = EventStream(self._access, after=None, changed=changed, patient=True)
        except CliError as error:
            self._turn(live=False, why=str(error))
            return None
        return BackgroundStream(stream, heard, lambda why: self._turn(live=False, why=why))

    def _turn(self, live: bool, why: str) -> None:
        """The line stands or is cut; either way the next look is a question, since something may have been missed."""
        self._live = live
        self._heard.put(None)
        messages.debug("events: connected" if live else f"events: {why}")


def check_success(operation: Operation, *, name: str, request_id: str | None) -> None:
    """Raise OperationFailed for an operation that ended otherwise."""
    if operation["state"] == "succeeded":
        return
    error = operation.get("error") or {}
    if operation["state"] == "cancelled":
        raise OperationFailed(
            f"The {work(operation)} of {name} was cancelled.",
            code=str(error.get("code") or "cancelled"),
            next_step=f"storefleet stores get {name}",
            request_id=request_id,
        )
    step = f" in step “{error['step']}”" if error.get("step") else ""
    advice = str(error.get("next") or "look at its log").rstrip(".")
    again = f"; then: {_again(operation, name)}" if error.get("retryable", True) else ""
    raise OperationFailed(
        f"The {work(operation)} of {name} failed{step}: {error.get('detail') or 'no reason was given'}",
        code=str(error.get("code") or "operation_failed"),
        next_step=f"{advice}{again}",
        request_id=request_id,
    )


def _again(operation: Operation, name: str) -> str:
    """The command that tries it once more: a store that is back, or as it was, has nothing to retry."""
    code, asked = (operation.get("error") or {}).get("code"), operation.get("input") or {}
    if operation["kind"] == "upgrade" and code != "return_failed":
        return f"storefleet stores upgrade {name} {asked.get('to', 'VERSION')}"
    if code == "orders_would_go":
        return f"storefleet stores rollback {name} --restore --discard-orders"
    return f"storefleet stores retry {name}"
