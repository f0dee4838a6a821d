"""The event websocket `/api/v1/events`: authenticate, replay missed events, then deliver live ones.

A slow reader affects only itself: it is switched to replay, and aborted when it does not read at
all. A websocket is closed when its session or token ends.
"""

import asyncio
import json
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from services.notifier.event_websocket import EventWebsocket
from services.notifier.feed import EventFeed, format_event
from storefleet.auth.authentication import SESSION_COOKIE, Authenticator, read_bearer_token
from storefleet.auth.sessions import Sessions
from storefleet.auth.tokens import Tokens
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
from storefleet.observability import metrics

#: Close code of a websocket without a valid session or token.
CLOSE_UNAUTHENTICATED = 4401
#: Seconds within which a batch of replayed events has to be read.
REPLAY_BATCH_TIMEOUT_S = 10.0

_FIRST_FRAME_TIMEOUT_S = 5.0
_HEARTBEAT_S = 20
_RECHECK_INTERVAL_S = 30.0
_MAX_MESSAGE_BYTES = 4096
_MAX_SEQ = 2**63 - 1


class WebsocketServer:
    """Accepts event websockets and keeps track of the open ones."""

    def __init__(
        self,
        *,
        feed: EventFeed,
        database: Database,
        sessions: Sessions,
        tokens: Tokens,
        authenticator: Authenticator,
        settings: Settings,
    ) -> None:
        self._feed = feed
        self._database = database
        self._sessions = sessions
        self._tokens = tokens
        self._authenticator = authenticator
        self._settings = settings
        self._open: set[EventWebsocket] = set()
        self._count = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Handle `GET /api/v1/events?after=<seq>`."""
        after = _parse_after(request)
        if self._count >= self._settings.websocket_limit:
            raise DependencyUnavailable(
                "Too many websockets are open in this replica. Try again in a few seconds.",
                code="too_many_sockets",
            )
        if SESSION_COOKIE in request.cookies and "Authorization" not in request.headers:
            # A browser sends the cookie even when a page of another site opens the websocket.
            self._authenticator.check_websocket_origin(request)
        ws = web.WebSocketResponse(
            compress=False, heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_MESSAGE_BYTES
        )
        if not _is_websocket_request(ws, request):
            raise InvalidRequest("This address accepts websockets only.", code="websocket_only")
        await ws.prepare(request)
        self._count += 1
        metrics.OPEN_WEBSOCKETS.set(self._count)
        try:
            await self._serve_websocket(request, ws, after)
        finally:
            self._count -= 1
            metrics.OPEN_WEBSOCKETS.set(self._count)
        return ws

    async def close_by_credential(self, credential_key: str) -> None:
        """Close the websockets of a session or token that has ended.

        Args:
            credential_key: `session:<hash>` or `token:<id>`; empty when notifications may have
                been missed, so that every credential is checked.
        """
        if not credential_key:
            await self._close_invalid()
            return
        closing = [each for each in self._open if each.credential_key == credential_key]
        await asyncio.gather(*(each.close(CLOSE_UNAUTHENTICATED, "signed out") for each in closing))

    async def close_expired(self) -> None:
        """Close the websockets of expired credentials, periodically, until cancelled."""
        while True:
            await asyncio.sleep(_RECHECK_INTERVAL_S)
            await self._close_invalid()

    async def close_all(self) -> None:
        """Close every websocket: the service shuts down, and its clients reconnect."""
        await asyncio.gather(
            *(each.close(WSCloseCode.SERVICE_RESTART, "restarting") for each in tuple(self._open))
        )

    async def _serve_websocket(
        self, request: web.Request, ws: web.WebSocketResponse, after: int | None
    ) -> None:
        """Authenticate an accepted websocket and serve it until it is closed."""
        try:
            principal = await self._authenticate(request, ws)
        except RequestError as error:
            is_rejected = isinstance(error, Unauthenticated)
            code = CLOSE_UNAUTHENTICATED if is_rejected else WSCloseCode.TRY_AGAIN_LATER
            await ws.close(code=code, message=error.code.encode())
            return
        websocket = EventWebsocket(
            ws=ws,
            request=request,
            principal=principal,
            backlog_bytes=self._settings.websocket_backlog,
            on_behind=self._restart_replay,
        )
        self._open.add(websocket)
        self._feed.add_listener(websocket)
        websocket.replay_task = asyncio.create_task(self._replay(websocket, after))
        try:
            async for message in ws:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            websocket.replay_task.cancel()
            self._feed.remove_listener(websocket)
            self._open.discard(websocket)

    async def _authenticate(self, request: web.Request, ws: web.WebSocketResponse) -> Principal:
        """Find the principal: by header, cookie, or the token in the first frame."""
        token = read_bearer_token(request)
        if token is None:
            if (user := await self._authenticator.find_signed_in_user(request)) is not None:
                return user
            token = await _read_first_frame(ws)
        principal = await self._tokens.find_principal(token)
        if principal is None or not principal.has_scope("stores:read"):
            raise Unauthenticated("The token is not valid.")
        return principal

    def _restart_replay(self, websocket: EventWebsocket) -> None:
        websocket.replay_task = asyncio.create_task(self._replay(websocket, websocket.cursor))

    async def _replay(self, websocket: EventWebsocket, after: int | None) -> None:
        """Send missed events, then switch to live ones; abort a client that does not read."""
        try:
            await self._send_missed_events(websocket, after)
        except TimeoutError:
            websocket.abort()
        except DatabaseUnavailable:
            await websocket.close(WSCloseCode.SERVICE_RESTART, "try again")

    async def _send_missed_events(self, websocket: EventWebsocket, after: int | None) -> None:
        # Until the feed has started, its watermark is 0: the websocket would go live at once and
        # miss the events up to the initial watermark.
        await self._feed.started.wait()
        if after is None:
            websocket.is_live = True
            return
        async with self._database.autocommit() as db:
            first_seq, last_seq = await db.events.read_bounds()
        if after > last_seq or after < first_seq - 1:
            reset = json.dumps({"type": "reset", "seq": last_seq})
            websocket.cursor = last_seq
            await websocket.send_replayed_event(last_seq, reset)
        else:
            websocket.cursor = after
        while (watermark := self._feed.watermark) > websocket.cursor:
            async with self._database.autocommit() as db:
                events = await db.events.list_between(
                    tenant_id=websocket.tenant_id, after=websocket.cursor, until=watermark
                )
            async with asyncio.timeout(REPLAY_BATCH_TIMEOUT_S):
                for event in events:
                    await websocket.send_replayed_event(event.seq or 0, format_event(event))
                await websocket.wait_until_drained()
            if not events:  # the events up to the watermark belong to other tenants
                websocket.cursor = watermark
        websocket.is_live = True

    async def _close_invalid(self) -> None:
        """Close the websockets whose session or token is not valid any more."""
        try:
            for credential_key in {each.credential_key for each in self._open}:
                if not await self._is_credential_valid(credential_key):
                    await self.close_by_credential(credential_key)
        except DatabaseUnavailable:
            return

    async def _is_credential_valid(self, credential_key: str) -> bool:
        kind, _, value = credential_key.partition(":")
        if kind == "session":
            user = await self._sessions.find_principal_by_hash(bytes.fromhex(value))
            return user is not None
        return await self._tokens.is_valid(value)


def _is_websocket_request(ws: web.WebSocketResponse, request: web.Request) -> bool:
    with suppress(ValueError):  # a header that is not text
        return bool(ws.can_prepare(request))
    return False


async def _read_first_frame(ws: web.WebSocketResponse) -> str:
    """Read the token of the first frame, `{"token": "…"}`."""
    try:
        frame = await ws.receive(timeout=_FIRST_FRAME_TIMEOUT_S)
    except TimeoutError:
        raise Unauthenticated("No token was received within 5 s.") from None
    if frame.type is WSMsgType.TEXT:
        with suppress(ValueError, RecursionError):
            content = json.loads(frame.data)
            if isinstance(content, dict) and isinstance(content.get("token"), str):
                return str(content["token"])
    raise Unauthenticated("The first frame has no token.")


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
