"""The event websocket: numbered frames in order, each one once, across cuts."""

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp

from storefleet.cli.cli_errors import NotAllowed, Unreachable, next_step_of
from storefleet.cli.client import explain
from storefleet.cli.endpoint import Access

UNAUTHENTICATED = 4401
#: No event has this number, so the notifier answers with a reset that names the newest one: the place to begin at.
NEWEST = 2**63 - 1
_HANDSHAKE = 10.0
_HEARTBEAT = 25.0
_LARGEST_FRAME = 1024 * 1024
_SHORTEST, _LONGEST = 0.2, 5.0
_FIRST_TRIES = 3
StateChange = Callable[[bool, str], None]


class EventStream:
    """Frames after `after` (None: from now on), until the task that reads them is cancelled.

    `changed(True, "")` is called when the line stands, `changed(False, why)` when it is cut and will be tried again.
    A line that never stood raises Unreachable after a few tries, if `patient` does not say otherwise.
    """

    def __init__(
        self, access: Access, *, after: int | None, changed: StateChange, patient: bool = False
    ) -> None:
        if access.live_url is None:
            raise Unreachable(
                f"Nobody told where the events of {access.url} are.",
                code="live_url_unknown",
                next_step="set STOREFLEET_LIVE_URL (or --live-url) to ws://host:port/api/v1/events",
            )
        self._url = access.live_url
        self._headers = {"Authorization": f"Bearer {access.token}"}
        self._cursor = after
        self._changed = changed
        self._tries = None if patient else _FIRST_TRIES
        self._pause = _SHORTEST

    async def frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """Events, and resets where the history has a hole; raises NotAllowed, Unreachable."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                try:
                    async for frame in self._connected(session):
                        yield frame
                    why = "the notifier closed the line"
                except aiohttp.WSServerHandshakeError as error:
                    why = self._refused(error)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    why = explain(error)
                await self._again(why)

    async def _connected(
        self, session: aiohttp.ClientSession
    ) -> AsyncGenerator[dict[str, Any], None]:
        after = NEWEST if self._cursor is None else self._cursor
        async with asyncio.timeout(_HANDSHAKE):
            ws = await session.ws_connect(
                f"{self._url}?after={after}", heartbeat=_HEARTBEAT, max_msg_size=_LARGEST_FRAME
            )
        async with contextlib.aclosing(_texts(ws)) as texts:
            self._tries = None
            self._changed(True, "")
            async for text in texts:
                self._pause = _SHORTEST
                if (frame := self._accept(text)) is not None:
                    yield frame
        if ws.close_code == UNAUTHENTICATED:
            raise _not_allowed("The notifier does not accept the token.", "unauthenticated", 401)

    def _accept(self, text: str) -> dict[str, Any] | None:
        """The frame if it is new; our own question for the newest number is answered here."""
        frame = _read(text)
        if frame is None:
            return None
        seq, asked = frame["seq"], self._cursor is None
        if frame.get("type") == "reset":
            self._cursor = seq
            return None if asked else frame
        if self._cursor is not None and seq <= self._cursor:
            return None
        self._cursor = seq
        return frame

    def _refused(self, error: aiohttp.WSServerHandshakeError) -> str:
        if error.status in (401, 403):
            raise _not_allowed(
                "The notifier does not accept the token.", "unauthenticated", error.status
            ) from None
        if 400 <= error.status < 500 and error.status != 429:
            raise Unreachable(
                f"{self._url} answered {error.status}, which is no websocket of events.",
                code="no_event_stream",
                next_step="check STOREFLEET_LIVE_URL (or --live-url)",
            ) from None
        return f"the notifier answered {error.status}"

    async def _again(self, why: str) -> None:
        if self._tries is not None:
            self._tries -= 1
            if self._tries <= 0:
                raise Unreachable(
                    f"The notifier at {self._url} does not answer: {why}.",
                    code="notifier_unreachable",
                    next_step="`storefleet status` shows what runs; or check STOREFLEET_LIVE_URL",
                )
        else:
            self._changed(False, why)
        await asyncio.sleep(self._pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads reconnects, guards nothing
        self._pause = min(_LONGEST, self._pause * 2)


async def _texts(ws: aiohttp.ClientWebSocketResponse) -> AsyncGenerator[str, None]:
    try:
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield message.data
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await ws.close()


def _read(text: str) -> dict[str, Any] | None:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) and isinstance(frame.get("seq"), int) else None


def _not_allowed(detail: str, code: str, status: int) -> NotAllowed:
    return NotAllowed(detail, code=code, status=status, next_step=next_step_of(code, status))


class BackgroundStream:
    """The stream in a thread, for a command that has its own things to do; whatever ends it is told and forgotten."""

    def __init__(
        self,
        stream: EventStream,
        heard: Callable[[dict[str, Any]], None],
        ended: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._heard = heard
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=2)

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001 - the display is a comfort, nothing it meets may decide the outcome
            self._ended(str(error))

    async def _listen(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._closing.is_set():
            return
        async with contextlib.aclosing(self._stream.frames()) as frames:
            async for frame in frames:
                self._heard(frame)
