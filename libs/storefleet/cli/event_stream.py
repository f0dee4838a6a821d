"""The client of the event websocket: numbered frames in order, each one once, across reconnects.

Every connection continues after the last `seq` that was seen, so a lost connection loses nothing.
The protocol and the close codes are described in docs/events.md.
"""

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
#: No event has this number, so the notifier answers with a reset that names the newest one.
NEWEST_SEQ = 2**63 - 1
_HANDSHAKE_TIMEOUT_S = 10.0
_HEARTBEAT_S = 25.0
_MAX_FRAME_BYTES = 1024 * 1024
_MIN_PAUSE_S, _MAX_PAUSE_S = 0.2, 5.0
_FIRST_CONNECT_ATTEMPTS = 3
ConnectionCallback = Callable[[bool, str], None]


class EventStream:
    """Reads frames from the notifier until the reading task is cancelled.

    Args:
        access: URLs and token.
        after: The `seq` to continue after; None starts with the next new event.
        on_connection_change: Called with `(True, "")` when the connection is open, and with
            `(False, reason)` when it was lost and will be opened again.
        retry_forever: Whether to retry a first connection without limit; otherwise it is
            given up after three attempts. An established stream always reconnects.

    Raises:
        ServiceUnreachable: The URL of the event websocket is unknown.
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
                f"The URL of the event websocket cannot be derived from {access.url}.",
                code="live_url_unknown",
                next_step="set STOREFLEET_LIVE_URL (or --live-url) to ws://host:port/api/v1/events",
            )
        self._url = access.live_url
        self._headers = {"Authorization": f"Bearer {access.token}"}
        self._cursor = after
        self._on_connection_change = on_connection_change
        # None: no limit, which also holds for every stream that has been connected once.
        self._attempts_left = None if retry_forever else _FIRST_CONNECT_ATTEMPTS
        self._pause_s = _MIN_PAUSE_S

    async def read_frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """Read events, and a reset where the event history has a gap.

        Yields:
            Frames with an integer `seq`, ascending.

        Raises:
            AccessDenied: The notifier rejects the token.
            ServiceUnreachable: The notifier does not answer, or is not an event websocket.
        """
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                try:
                    async for frame in self._read_connection(session):
                        yield frame
                    reason = "the notifier closed the connection"
                except aiohttp.WSServerHandshakeError as error:
                    reason = self._handle_rejection(error)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    reason = describe_error(error)
                await self._wait_before_reconnect(reason)

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
            raise _make_access_denied(401)

    def _accept_frame(self, text: str) -> dict[str, Any] | None:
        """Return the frame if it is new; consume the reset that answers our NEWEST_SEQ."""
        frame = _parse_frame(text)
        if frame is None:
            return None
        seq, is_first = frame["seq"], self._cursor is None
        if frame.get("type") == "reset":
            self._cursor = seq
            return None if is_first else frame
        if self._cursor is not None and seq <= self._cursor:
            return None
        self._cursor = seq
        return frame

    def _handle_rejection(self, error: aiohttp.WSServerHandshakeError) -> str:
        """Raise if the rejection is permanent; otherwise return the reason for the retry."""
        if error.status in (401, 403):
            raise _make_access_denied(error.status) from None
        if 400 <= error.status < 500 and error.status != 429:
            raise ServiceUnreachable(
                f"{self._url} is not an event websocket: it answered with status {error.status}.",
                code="no_event_stream",
                next_step="check STOREFLEET_LIVE_URL (or --live-url)",
            ) from None
        return f"the notifier answered with status {error.status}"

    async def _wait_before_reconnect(self, reason: str) -> None:
        if self._attempts_left is not None:
            self._attempts_left -= 1
            if self._attempts_left <= 0:
                raise ServiceUnreachable(
                    f"The notifier at {self._url} does not answer: {reason}.",
                    code="notifier_unreachable",
                    next_step="`storefleet status` shows what runs; or check STOREFLEET_LIVE_URL",
                )
        else:
            self._on_connection_change(False, reason)
        jitter = random.uniform(0.7, 1.3)  # noqa: S311 - spreads reconnects, protects nothing
        await asyncio.sleep(self._pause_s * jitter)
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


def _make_access_denied(status: int) -> AccessDenied:
    code = "unauthenticated"
    return AccessDenied(
        "The notifier rejected the token.",
        code=code,
        status=status,
        next_step=find_next_step(code, status),
    )


class BackgroundEventStream:
    """Reads an event stream in a thread, for a command that can succeed without it.

    Args:
        stream: The stream to read.
        on_frame: Called in the thread with every frame.
        on_end: Called in the thread with the reason when the stream failed and is not retried.
    """

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
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Cancel the stream and wait up to two seconds for the thread."""
        self._closing.set()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=2)

    def _run(self) -> None:
        try:
            asyncio.run(self._read_stream())
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001 - events only speed up the display
            self._on_end(str(error))

    async def _read_stream(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._closing.is_set():
            return
        async with contextlib.aclosing(self._stream.read_frames()) as frames:
            async for frame in frames:
                self._on_frame(frame)
