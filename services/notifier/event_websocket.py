"""One open event websocket: write live and replayed events, and detect a slow reader."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from storefleet.core.models import Principal
from storefleet.observability import metrics

_CLOSE_TIMEOUT_S = 1
_DRAIN_POLL_S = 0.05


class EventWebsocket:
    """A websocket of one principal, which is a listener of the event feed.

    Attributes:
        tenant_id: The tenant whose events it gets.
        credential_key: `session:<hash>` or `token:<id>`; its end closes the websocket.
        is_live: Whether the replay has ended, and live events are written.
        cursor: The `seq` of the last event that was written.
        replay_task: The task that replays events from PostgreSQL.
    """

    def __init__(
        self,
        *,
        ws: web.WebSocketResponse,
        request: web.Request,
        principal: Principal,
        backlog_bytes: int,
        on_behind: Callable[["EventWebsocket"], None],
    ) -> None:
        """Wrap an open websocket.

        Args:
            ws: The websocket.
            request: Its request, whose transport the frames are written to.
            principal: Who opened it.
            backlog_bytes: With more unread bytes, the client counts as a slow reader.
            on_behind: Called when a slow reader is switched to replay.
        """
        self._ws = ws
        self._on_behind = on_behind
        self._transport = request.transport
        self._backlog_bytes = backlog_bytes
        self.tenant_id = principal.tenant_id
        self.credential_key = (
            f"session:{principal.session_hash.hex()}"
            if principal.session_hash
            else f"token:{principal.token_id}"
        )
        self.is_live = False
        self.cursor = 0
        self.replay_task: asyncio.Task[None] | None = None

    def deliver_event(self, seq: int, frame: bytes) -> None:
        """Write a live event, unless the websocket is in replay.

        A websocket whose reader is too slow is switched to replay, so that it does not delay the
        others.

        Args:
            seq: The number of the event.
            frame: The event as a websocket frame.
        """
        if not self.is_live or seq <= self.cursor:
            return
        if self._ws.closed or self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._backlog_bytes:
            self.is_live = False
            self._on_behind(self)
            return
        self.cursor = seq
        self._transport.write(frame)
        metrics.EVENTS_SENT.inc()

    async def send_replayed_event(self, seq: int, text: str) -> None:
        """Send an event of the history, no faster than the client reads."""
        self.cursor = seq
        with suppress(ConnectionError, RuntimeError):  # it has just been closed
            await self._ws.send_str(text)
            metrics.EVENTS_SENT.inc()

    async def wait_until_drained(self) -> None:
        """Wait until at most half of the backlog limit is unread."""
        while self._is_backlogged():  # noqa: ASYNC110  the transport has no event for it
            await asyncio.sleep(_DRAIN_POLL_S)

    def abort(self) -> None:
        """Close the connection at once, because the client does not read."""
        metrics.WEBSOCKETS_CLOSED_SLOW.inc()
        if self._transport is not None:
            self._transport.abort()

    async def close(self, code: int, message: str) -> None:
        """Close the websocket with a code and a reason."""
        with suppress(ConnectionError, RuntimeError, TimeoutError):
            await asyncio.wait_for(
                self._ws.close(code=code, message=message.encode()), timeout=_CLOSE_TIMEOUT_S
            )
        if self._transport is not None:
            self._transport.close()

    def _is_backlogged(self) -> bool:
        return (
            self._transport is not None
            and self._transport.get_write_buffer_size() > self._backlog_bytes // 2
        )
