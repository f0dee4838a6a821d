"""The event websocket: numbered frames in order, each one once, across cuts."""

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp

from storefleet.cli.cli_errors import AccessDenied, ServiceUnreachable, find_next_step
from storefleet.cli.client import describe_error
from storefleet.cli.endpoint import ApiAccess

CLOSE_UNAUTHENTICATED = 4401
#: No event has this number, so the notifier answers with a reset that names the newest one: the place to begin at.
NEWEST_SEQ = 2**63 - 1
_HANDSHAKE_TIMEOUT_S = 10.0
_HEARTBEAT_S = 25.0
_MAX_FRAME_BYTES = 1024 * 1024
_MIN_PAUSE_S, _MAX_PAUSE_S = 0.2, 5.0
_FIRST_CONNECT_ATTEMPTS = 3
ConnectionCallback = Callable[[bool, str], None]


class EventStream:
    """Frames after `after` (None: from now on), until the task that reads them is cancelled.

    `changed(True, "")` is called when the line stands, `changed(False, why)` when it is cut and will be tried again.
    A line that never stood raises Unreachable after a few tries, if `patient` does not say otherwise.
    """

    def __init__(
        self,
        access: ApiAccess,
        *,
        after: int | None,
        on_connection_change: ConnectionCallback,
        retry_forever: bool = False,
    ) -> None:
        if access.live_url is None:
            raise ServiceUnreachable(
                f"Nobody told where the events of {access.url} are.",
                code="live_url_unknown",
                next_step="set STOREFLEET_LIVE_URL (or --live-url) to ws://host:port/api/v1/events",
            )
        self._url = access.live_url
        self._headers = {"Authorization": f"Bearer {access.token}"}
        self._cursor = after
        self._on_connection_change = on_connection_change
        self._attempts_left = None if retry_forever else _FIRST_CONNECT_ATTEMPTS
        self._pause_s = _MIN_PAUSE_S

    async def read_frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """Events, and resets where the history has a hole; raises NotAllowed, Unreachable."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                try:
                    async for frame in self._read_connection(session):
                        yield frame
                    why = "the notifier closed the line"
                except aiohttp.WSServerHandshakeError as error:
                    why = self._handle_rejection(error)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    why = describe_error(error)
                await self._wait_before_reconnect(why)

    async def _read_connection(
        self, session: aiohttp.ClientSession
    ) -> AsyncGenerator[dict[str, Any], None]:
        after = NEWEST_SEQ if self._cursor is None else self._cursor
        async with asyncio.timeout(_HANDSHAKE_TIMEOUT_S):
            ws = await session.ws_connect(
                f"{self._url}?after={after}", heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_FRAME_BYTES
            )
        async with contextlib.aclosing(_read_texts(ws)) as texts:
            self._attempts_left = None
            self._on_connection_change(True, "")
            async for text in texts:
                self._pause_s = _MIN_PAUSE_S
                if (frame := self._accept_frame(text)) is not None:
                    yield frame
        if ws.close_code == CLOSE_UNAUTHENTICATED:
            raise _make_access_denied(
                "The notifier does not accept the token.", "unauthenticated", 401
            )

    def _accept_frame(self, text: str) -> dict[str, Any] | None:
        """The frame if it is new; our own question for the newest number is answered here."""
        frame = _parse_frame(text)
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

    def _handle_rejection(self, error: aiohttp.WSServerHandshakeError) -> str:
        if error.status in (401, 403):
            raise _make_access_denied(
                "The notifier does not accept the token.", "unauthenticated", error.status
            ) from None
        if 400 <= error.status < 500 and error.status != 429:
            raise ServiceUnreachable(
                f"{self._url} answered {error.status}, which is no websocket of events.",
                code="no_event_stream",
                next_step="check STOREFLEET_LIVE_URL (or --live-url)",
            ) from None
        return f"the notifier answered {error.status}"

    async def _wait_before_reconnect(self, why: str) -> None:
        if self._attempts_left is not None:
            self._attempts_left -= 1
            if self._attempts_left <= 0:
                raise ServiceUnreachable(
                    f"The notifier at {self._url} does not answer: {why}.",
                    code="notifier_unreachable",
                    next_step="`storefleet status` shows what runs; or check STOREFLEET_LIVE_URL",
                )
        else:
            self._on_connection_change(False, why)
        await asyncio.sleep(self._pause_s * random.uniform(0.7, 1.3))  # noqa: S311 - spreads reconnects, guards nothing
        self._pause_s = min(_MAX_PAUSE_S, self._pause_s * 2)


async def _read_texts(ws: aiohttp.ClientWebSocketResponse) -> AsyncGenerator[str, None]:
    try:
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield message.data
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await ws.close()


def _parse_frame(text: str) -> dict[str, Any] | None:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) and isinstance(frame.get("seq"), int) else None


def _make_access_denied(detail: str, code: str, status: int) -> AccessDenied:
    return AccessDenied(detail, code=code, status=status, next_step=find_next_step(code, status))


class BackgroundEventStream:
    """The stream in a thread, for a command that has its own things to do; whatever ends it is told and forgotten."""

    def __init__(
        self,
        stream: EventStream,
        on_frame: Callable[[dict[str, Any]], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._on_frame = on_frame
        self._on_end = on_end
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
            asyncio.run(self._read_stream())
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001 - the display is a comfort, nothing it meets may decide the outcome
            self._on_end(str(error))

    async def _read_stream(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._closing.is_set():
            return
        async with contextlib.aclosing(self._stream.read_frames()) as frames:
            async for frame in frames:
                self._on_frame(frame)
