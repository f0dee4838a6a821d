"""HTTP/1.1 and websocket clients with minimal overhead, which would distort the results."""

import asyncio
import base64
import os
import struct
from collections import deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class Connection(asyncio.Protocol):
    """A keep-alive connection; it calls `answered(connection, key, status, body)` per response."""

    def __init__(
        self,
        answered: Callable[["Connection", int, int, bytes], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._on_response = answered
        self._on_lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.key = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send_request(self, key: int, request: bytes) -> None:
        assert self._transport is not None
        self.key = key
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._buffer = body[length:]
        key, self.key = self.key, -1
        self._on_response(self, key, int(head[9:12]), body[:length])

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class ConnectionPool:
    """A pool of connections; a request waits only when all of them are busy."""

    def __init__(self, url: str, answered: Callable[[int, int, bytes], None]) -> None:
        self._address = urlsplit(url)
        self._on_response = answered
        self._free: deque[Connection] = deque()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self.broken: list[int] = []
        self.most_waiting = 0

    async def open_connections(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, line = await loop.create_connection(
                lambda: Connection(self._finish_request, self._remove_connection),
                self._address.hostname,
                self._address.port,
            )
            self._free.append(line)

    def send_request(self, key: int, request: bytes) -> None:
        if self._free:
            self._free.popleft().send_request(key, request)
        else:
            self._waiting.append((key, request))
            self.most_waiting = max(self.most_waiting, len(self._waiting))

    def _finish_request(self, line: Connection, key: int, status: int, body: bytes) -> None:
        self._on_response(key, status, body)
        if self._waiting:
            line.send_request(*self._waiting.popleft())
        else:
            self._free.append(line)

    def _remove_connection(self, line: Connection) -> None:
        if line.key >= 0:
            self.broken.append(line.key)
        if line in self._free:
            self._free.remove(line)

    def close(self) -> None:
        for line in tuple(self._free):
            line.close()


class Feed(asyncio.Protocol):
    """A websocket, open once a ping is answered; it calls `heard(frame)` for each text frame."""

    def __init__(self, url: str, token: str, heard: Callable[[bytes], None]) -> None:
        place = urlsplit(url)
        target = place.path + (f"?{place.query}" if place.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._on_frame = heard
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._upgraded and not self._finish_handshake():
            return
        while (frame := self._take_frame()) is not None:
            kind, content = frame
            if kind == _TEXT:
                self._on_frame(content)
            elif kind == _PING and self._transport is not None:
                self._transport.write(
                    bytes((0x80 | _PONG, 0x80 | len(content))) + b"\0\0\0\0" + content
                )
            elif kind == _PONG and not self.opened.done():
                self.opened.set_result(None)
            elif kind == _CLOSE and self._transport is not None:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed before it was a websocket"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _finish_handshake(self) -> bool:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.opened.set_exception(ConnectionError(head.decode("latin-1")))
            self._buffer = b""
            return False
        self._upgraded, self._buffer = True, rest
        # The server reads, and so answers, only after it has subscribed this websocket to events.
        if self._transport is not None:
            self._transport.write(bytes((0x80 | _PING, 0x80)) + b"\0\0\0\0")
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """Return the next complete frame; servers do not mask, and ours do not fragment frames."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, begin = buffer[1] & 0x7F, 2
        if length == 126 and len(buffer) >= 4:
            length, begin = struct.unpack_from(">H", buffer, 2)[0], 4
        elif length == 127 and len(buffer) >= 10:
            length, begin = struct.unpack_from(">Q", buffer, 2)[0], 10
        elif length >= 126:
            return None
        if len(buffer) < begin + length:
            return None
        self._buffer = buffer[begin + length :]
        return buffer[0] & 0x0F, buffer[begin : begin + length]


async def open_feed(url: str, token: str, heard: Callable[[bytes], None]) -> Feed:
    """Open a websocket; raises ConnectionError."""
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, feed = await loop.create_connection(
        lambda: Feed(url, token, heard), place.hostname, place.port
    )
    await asyncio.wait_for(feed.opened, timeout=30)
    return feed
