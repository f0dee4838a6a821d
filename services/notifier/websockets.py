"""The event websocket: who may listen, replay from the database, then live; a slow reader is cut off alone."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from services.notifier.feed import EventFeed, format_event
from storefleet.auth.accounts import Accounts
from storefleet.auth.authentication import SESSION_COOKIE, Authenticator, read_bearer_token
from storefleet.core.errors import (
    DatabaseUnavailable,
    DependencyUnavailable,
    InvalidRequest,
    RequestError,
    Unauthenticated,
)
from storefleet.core.models import Principal
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

CLOSE_UNAUTHENTICATED = 4401
_FIRST_FRAME_TIMEOUT_S = 5.0
REPLAY_BATCH_TIMEOUT_S = 10.0  # seconds in which a batch of replayed events has to be read
_RECHECK_INTERVAL_S = 30.0
_MAX_SEQ = 2**63 - 1


class EventWebsocket:
    """One open websocket of one caller."""

    def __init__(
        self,
        *,
        ws: web.WebSocketResponse,
        request: web.Request,
        principal: Principal,
        backlog_bytes: int,
        on_behind: Callable[["EventWebsocket"], None],
    ) -> None:
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

    def deliver_event(self, seq: int, wire: bytes) -> None:
        """Write a live event; replay, which reads the database, has not ended while `live` is false.

        A socket that reads more slowly than events come goes back to replay, at its own pace: nobody waits for it.
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
        self._transport.write(wire)
        metrics.EVENTS_SENT.inc()

    async def wait_until_drained(self) -> None:
        """Wait until the reader has taken most of what was written."""
        while self._is_backlogged():  # noqa: ASYNC110  the transport has no event for it
            await asyncio.sleep(0.05)

    def _is_backlogged(self) -> bool:
        return (
            self._transport is not None
            and self._transport.get_write_buffer_size() > self._backlog_bytes // 2
        )

    def abort(self) -> None:
        metrics.WEBSOCKETS_CLOSED_SLOW.inc()
        if self._transport is not None:
            self._transport.abort()

    async def send_replayed_event(self, seq: int, frame: str) -> None:
        """Write a replayed event, no faster than it is read."""
        self.cursor = seq
        with suppress(ConnectionError, RuntimeError):  # it has just closed
            await self._ws.send_str(frame)
            metrics.EVENTS_SENT.inc()

    async def close(self, code: int, message: str) -> None:
        with suppress(ConnectionError, RuntimeError, TimeoutError):
            await asyncio.wait_for(self._ws.close(code=code, message=message.encode()), timeout=1)
        if self._transport is not None:
            self._transport.close()


class WebsocketServer:
    """All of them."""

    def __init__(
        self,
        *,
        feed: EventFeed,
        database: Database,
        accounts: Accounts,
        authenticator: Authenticator,
        settings: Settings,
    ) -> None:
        self._feed = feed
        self._database = database
        self._accounts = accounts
        self._authenticator = authenticator
        self._settings = settings
        self._open: set[EventWebsocket] = set()
        self._count = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/events?after=<seq>."""
        after = _parse_after(request)
        if self._count >= self._settings.websocket_limit:
            raise DependencyUnavailable(
                "Too many sockets are open here; try again in a few seconds.",
                code="too_many_sockets",
            )
        if SESSION_COOKIE in request.cookies and "Authorization" not in request.headers:
            self._authenticator.check_websocket_origin(
                request
            )  # a browser sends its cookie from wherever
        ws = web.WebSocketResponse(compress=False, heartbeat=20, max_msg_size=4096)
        if not _is_websocket_request(ws, request):
            raise InvalidRequest("This address speaks websocket only.", code="websocket_only")
        await ws.prepare(request)
        self._count += 1
        metrics.OPEN_WEBSOCKETS.set(self._count)
        try:
            await self._serve_websocket(request, ws, after)
        finally:
            self._count -= 1
            metrics.OPEN_WEBSOCKETS.set(self._count)
        return ws

    async def _serve_websocket(
        self, request: web.Request, ws: web.WebSocketResponse, after: int | None
    ) -> None:
        try:
            caller = await self._authenticate(request, ws)
        except RequestError as error:
            code = (
                CLOSE_UNAUTHENTICATED
                if isinstance(error, Unauthenticated)
                else WSCloseCode.TRY_AGAIN_LATER
            )
            await ws.close(code=code, message=error.code.encode())
            return
        backlog = self._settings.websocket_backlog
        socket = EventWebsocket(
            ws=ws,
            request=request,
            principal=caller,
            backlog_bytes=backlog,
            on_behind=self._restart_replay,
        )
        self._open.add(socket)
        self._feed.add_listener(socket)
        socket.replay_task = asyncio.create_task(self._replay(socket, after))
        try:
            async for message in ws:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            socket.replay_task.cancel()
            self._feed.remove_listener(socket)
            self._open.discard(socket)

    async def _authenticate(self, request: web.Request, ws: web.WebSocketResponse) -> Principal:
        token = read_bearer_token(request)
        if token is None:
            if (person := await self._authenticator.find_signed_in_user(request)) is not None:
                return person
            token = await _read_first_frame(ws)
        caller = await self._accounts.find_by_token(token)
        if caller is None or not caller.has_scope("stores:read"):
            raise Unauthenticated("The token is not valid.")
        return caller

    def _restart_replay(self, socket: EventWebsocket) -> None:
        socket.replay_task = asyncio.create_task(self._replay(socket, socket.cursor))

    async def _replay(self, socket: EventWebsocket, after: int | None) -> None:
        """What was missed, oldest first, then live; never both at once. Who does not read at all is cut off."""
        try:
            await self._send_missed_events(socket, after)
        except TimeoutError:
            socket.abort()
        except DatabaseUnavailable:
            await socket.close(WSCloseCode.SERVICE_RESTART, "try again")

    async def _send_missed_events(self, socket: EventWebsocket, after: int | None) -> None:
        await (
            self._feed.started.wait()
        )  # before that its watermark would promise what nobody hands on
        if after is None:
            socket.is_live = True
            return
        async with self._database.autocommit() as db:
            first, last = await db.events.read_bounds()
        if after > last or after < first - 1:
            socket.cursor = last
            await socket.send_replayed_event(last, json.dumps({"type": "reset", "seq": last}))
        else:
            socket.cursor = after
        while (until := self._feed.watermark) > socket.cursor:
            async with self._database.autocommit() as db:
                events = await db.events.list_between(
                    tenant_id=socket.tenant_id, after=socket.cursor, until=until
                )
            async with asyncio.timeout(REPLAY_BATCH_TIMEOUT_S):
                for event in events:
                    await socket.send_replayed_event(event.seq or 0, format_event(event))
                await socket.wait_until_drained()
            if not events:
                socket.cursor = until
        socket.is_live = True

    async def close_by_credential(self, key: str) -> None:
        """A session or a token has ended: so do its sockets. An empty key means that word may have been missed."""
        if not key:
            await self._close_invalid()
            return
        await asyncio.gather(
            *(
                s.close(CLOSE_UNAUTHENTICATED, "signed out")
                for s in tuple(self._open)
                if s.credential_key == key
            )
        )

    async def close_expired(self) -> None:
        while True:
            await asyncio.sleep(_RECHECK_INTERVAL_S)
            await self._close_invalid()

    async def _close_invalid(self) -> None:
        """Close what belongs to sessions and tokens that are not valid any more."""
        try:
            for key in {socket.credential_key for socket in self._open}:
                if not await self._accounts.is_credential_valid(key):
                    await self.close_by_credential(key)
        except DatabaseUnavailable:
            return

    async def close_all(self) -> None:
        await asyncio.gather(
            *(s.close(WSCloseCode.SERVICE_RESTART, "restarting") for s in tuple(self._open))
        )


def _is_websocket_request(ws: web.WebSocketResponse, request: web.Request) -> bool:
    with suppress(ValueError):  # a header that is not text
        return bool(ws.can_prepare(request))
    return False


async def _read_first_frame(ws: web.WebSocketResponse) -> str:
    """The token in the first frame; raises Unauthenticated."""
    try:
        frame = await ws.receive(timeout=_FIRST_FRAME_TIMEOUT_S)
    except TimeoutError:
        raise Unauthenticated("No token came within 5 s.") from None
    if frame.type is WSMsgType.TEXT:
        with suppress(ValueError, RecursionError):
            content = json.loads(frame.data)
            if isinstance(content, dict) and isinstance(content.get("token"), str):
                return str(content["token"])
    raise Unauthenticated("The first frame holds no token.")


def _parse_after(request: web.Request) -> int | None:
    text = request.query.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _MAX_SEQ):
        raise InvalidRequest(
            "“after” must be the number of an event.",
            errors=[("/after", "must be a number from 0")],
        )
    return int(text)
