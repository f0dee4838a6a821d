"""Hostile requests from a seeded generator, sent over plain sockets."""

import asyncio
import base64
import gzip
import random
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from storefleet.auth.authentication import SESSION_COOKIE

READ = (
    *(
        "/api/v1/stores",
        "/api/v1/stores/{ref}",
        "/api/v1/stores/{ref}/events",
        "/api/v1/stores/{ref}/logs",
    ),
    *("/api/v1/stores/{ref}/mail", "/api/v1/stores/acme/mail/{ref}", "/stores/{ref}/mail/{ref}"),
    *("/api/v1/stores/{ref}/history", "/api/v1/stores/{ref}/usage"),
    *(
        "/api/v1/operations",
        "/api/v1/operations/{ref}",
        "/api/v1/tokens",
        "/api/v1/me",
        "/api/v1/engines",
    ),
    *(
        "/api/v1/dead-letters",
        "/api/v1/dead-letters/{ref}",
        "/api/v1/{ref}",
        "/api/v1/events",
        "/{ref}",
        "/static/{ref}",
    ),
    *(
        "/",
        "/login",
        "/stores",
        "/stores/new",
        "/stores/table",
        "/stores/{ref}",
        "/stores/{ref}/live",
        "/metrics",
    ),
)
WRITTEN = (
    *(
        "/api/v1/stores",
        "/api/v1/stores/{ref}/retry",
        "/api/v1/stores/{ref}/credentials",
        "/api/v1/tenants",
    ),
    *("/api/v1/stores/{ref}/upgrade", "/api/v1/stores/{ref}/rollback"),
    *(
        "/api/v1/operations/{ref}/cancel",
        "/api/v1/tokens",
        "/api/v1/dead-letters/{ref}/replay",
        "/login",
        "/logout",
    ),
    *("/stores/new", "/stores/{ref}/delete", "/stores/{ref}/retry", "/stores/{ref}/credentials"),
    *("/operations/{ref}/cancel", "/api/v1/stores", "/api/v1/tokens", "/stores/new"),
)
DELETED = ("/api/v1/stores/{ref}", "/api/v1/tokens/{ref}")
ROUTES = (*READ, *WRITTEN, *DELETED, "/healthz", "/readyz", "*")
METHODS = (
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "QUERY",
    "get",
    "G\xcbT",
    "",
)
WORDS: Sequence[bytes] = (
    *(
        b"",
        b"x",
        b"..",
        b"../../etc/passwd",
        b"%00",
        b"a%00b",
        b"%2e%2e%2f",
        b"%FF%FE",
        b"%ED%A0%80",
        b"%",
        b"%zz",
    ),
    *(
        b"\xff\xfe",
        "ä€😀".encode(),
        b"a" * 300,
        b"a" * 9000,
        b"'; DROP TABLE stores; --",
        b"{{7*7}}",
        b"${jndi:x}",
    ),
    *(
        b"<script>",
        b"-1",
        b"0",
        b"9" * 40,
        b"1e999",
        b"null",
        b"NaN",
        b"a b",
        b"a\tb",
        b"a\x01b",
        b"[::1",
        b"a;b",
        b"//",
    ),
    *(
        b"sto_aaaaaaaaaaaaaaaa",
        b"op_aaaaaaaaaaaaaaaa",
        b"sto_AAAAAAAAAAAAAAAA",
        b"dl_\xc3\xa4aaaaaaaaaaaaaa",
    ),
)
FIELDS = (
    *(
        "Host",
        "Authorization",
        "Cookie",
        "Origin",
        "Accept",
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
    ),
    *(
        "Transfer-Encoding",
        "Idempotency-Key",
        "X-Request-Id",
        "X-CSRF-Token",
        "Sec-Fetch-Site",
        "HX-Request",
        "Range",
    ),
    *(
        "If-None-Match",
        "If-Modified-Since",
        "Expect",
        "Upgrade",
        "Connection",
        "X-Forwarded-For",
        "Accept-Encoding",
    ),
)
TYPES = (
    *(
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"text/plain; charset=nonsense",
        b"multipart/form-data",
    ),
    *(
        b"multipart/form-data; boundary=x",
        b"application/x-www-form-urlencoded; charset=nonsense",
        b"application/json;;;=",
    ),
    *(
        b"application/x-www-form-urlencoded; charset=utf-16",
        b"application/x-www-form-urlencoded; charset=idna",
        b"/",
    ),
    *(
        b"application/x-www-form-urlencoded; charset=rot13",
        b"application/x-www-form-urlencoded; charset=punycode",
    ),
    b"multipart/form-data; boundary=" + b"y" * 100,
)
#: None of these bodies creates anything, under any principal and path.
BODIES: Sequence[bytes] = (
    *(
        b"",
        b"{",
        b"}",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"\x00\x01\xff",
        b"[" * 60_000,
        b'{"a":' * 5000,
    ),
    *(
        b'{"name": NaN}',
        b'{"name": 1e999}',
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": "\\u0000\\u0000\\u0000"}',
    ),
    *(b'{"name": "\\ud800\\ud800\\ud800"}', b'{"name": ["a"]}', b'{"name": {}}', b'{"name": true}'),
    b'{"name": "A B", "x": 1}',
    *(
        b'{"name": "abc", "engine": "nope"}',
        b'{"name": "abc", "parameters": {"x": 1}}',
        b'{"name": "abc", "x": 1}',
    ),
    *(
        b'{"name": "abc", "parameters": {"discount": 1e999}}',
        b'{"name": "abc", "parameters": {"discount": -1e308}}',
    ),
    *(
        b'{"name": "abc", "parameters": {"products": 1' + b"0" * 4000 + b"}}",
        b'{"name": "' + "ä".encode("latin-1") + b'"}',
    ),
    *(
        b'{"version": ""}',
        b'{"version": "\\u0000"}',
        b'{"version": "' + b"9" * 5000 + b'"}',
        b'{"version": ["1.0.0"]}',
    ),
    *(
        b'{"restore": "yes"}',
        b'{"restore": 1, "discard_orders": null}',
        b'{"version": "../1", "plan": {}}',
    ),
    *(b'{"name": "abc", "version": "nope"}', b'{"name": "abc", "plan": "huge"}'),
    *(
        b'{"email": "x", "name": "y"}',
        b'{"name": "x", "scopes": ["y"]}',
        b'{"name": "x", "expires_in_days": 1e9}',
    ),
    *(
        b"email=a%00&password=%FF",
        b"name=%00&csrf_token=x",
        b"csrf_token=%ED%A0%80&confirm=x",
        b"=&=&&;;%",
        b"&" * 5000,
    ),
    *(
        b"a=" + b"b" * 70_000,
        b"--x\r\n\r\n\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; name=csrf_token\r\n\r\nx\r\n--x--",
    ),
    *(
        (
            b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\nContent-Type: a/b; "
            b"charset=zz\r\n\r\nx\r\n--x--"
        ),
    ),
    *(
        gzip.compress(b"0" * 200_000),
        gzip.compress(b"{}"),
        b"5\r\nhello\r\n0\r\n\r\n",
        b"zz\r\n",
        b"-1\r\n\r\n",
        b"\xef\xbb\xbf{}",
    ),
)


FRAMES: Sequence[bytes] = (
    *(
        b"",
        b"x",
        b"\xff\xfe",
        b"[" * 3000,
        b"{}",
        b'{"token": 1}',
        b'{"token": "sft_x"}',
        b"y" * 5000,
    ),
    *(
        b'{"token": "sft_\\ud800"}',
        b'{"token": "sft_\\u0000"}',
        b'{"token": "sft_' + b"x" * 3000 + b'"}',
    ),
)


class HostileReply(NamedTuple):
    """A response: its status (0 for none) and its first bytes."""

    status: int
    answer: bytes


class HostileRequests:
    """Generates bad requests; `tokens` and `refs` are valid, but never for each other."""

    def __init__(
        self, seed: int, *, tokens: Sequence[str], cookies: Sequence[str], refs: Sequence[str]
    ) -> None:
        self._chance = random.Random(seed)
        self._tokens = tokens
        self._cookies = cookies
        self._refs = [ref.encode() for ref in refs]

    def http(self) -> bytes:
        """Build one HTTP request as bytes."""
        pick = self._chance
        if pick.random() < 0.6:
            return self._whole()
        if pick.random() < 0.1:
            return self._noise()
        method = (
            pick.choice(METHODS) if pick.random() < 0.25 else pick.choice(("GET", "POST", "DELETE"))
        )
        path = pick.choice(ROUTES).encode().replace(b"{ref}", self._word())
        if pick.random() < 0.3:
            names = (
                b"limit",
                b"starting_after",
                b"state",
                b"q",
                b"wait",
                b"tail",
                b"after",
                b"store_id",
                b"next",
                b"",
            )
            path += b"?" + b"&".join(
                pick.choice(names) + b"=" + self._word() for _ in range(pick.randint(1, 4))
            )
        headers, body = self._headers(), b""
        if pick.random() < 0.7:
            body = pick.choice(BODIES)
            names = {name.lower() for name, _value in headers}
            if not names & {"content-length", "transfer-encoding"} and pick.random() < 0.95:
                headers.append(("Content-Length", str(len(body)).encode()))
            if "content-type" not in names and pick.random() < 0.9:
                headers.append(("Content-Type", pick.choice(TYPES)))
        version = (
            b"HTTP/1.1"
            if pick.random() < 0.97
            else pick.choice((b"HTTP/1.0", b"HTTP/9.9", b"HTTP", b""))
        )
        lines = [method.encode("latin-1") + b" " + path + b" " + version]
        lines += [name.encode("latin-1") + b": " + value for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _whole(self) -> bytes:
        """Build valid HTTP for an existing route, with invalid content or a wrong principal."""
        pick = self._chance
        method, routes = pick.choice(
            (("GET", READ), ("POST", WRITTEN), ("POST", WRITTEN), ("DELETE", DELETED))
        )
        path = pick.choice(routes).replace("{ref}", quote(self._word()))
        if method == "GET" and pick.random() < 0.4:
            name = pick.choice(
                ("limit", "starting_after", "state", "q", "tail", "after", "store_id", "next")
            )
            path += f"?{name}={quote(self._word())}"
        headers = {b"Host": b"127.0.0.1", b"Connection": b"close"}
        if pick.random() < 0.7:
            headers[b"Authorization"] = b"Bearer " + pick.choice(self._tokens).encode()
        elif pick.random() < 0.8:
            headers[b"Cookie"] = f"{SESSION_COOKIE}={pick.choice(self._cookies)}".encode()
        if pick.random() < 0.3:
            headers[b"Accept"] = b"text/html"
        if pick.random() < 0.1:
            headers[pick.choice((b"Idempotency-Key", b"X-CSRF-Token", b"X-Request-Id"))] = quote(
                self._word()
            ).encode()
        body = b""
        if method == "POST":
            body = pick.choice(BODIES)
            headers[b"Content-Length"] = str(len(body)).encode()
            headers[b"Content-Type"] = pick.choice((b"application/json", *TYPES))
        lines = [
            f"{method} {path} HTTP/1.1".encode(),
            *(name + b": " + value for name, value in headers.items()),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _headers(self) -> list[tuple[str, bytes]]:
        pick = self._chance
        headers: list[tuple[str, bytes]] = [("Connection", b"close")]
        if pick.random() < 0.95:
            headers.append(("Host", b"127.0.0.1"))
        who = pick.random()
        if who < 0.45:
            headers.append(("Authorization", b"Bearer " + pick.choice(self._tokens).encode()))
        elif who < 0.6:
            headers.append(("Cookie", f"{SESSION_COOKIE}={pick.choice(self._cookies)}".encode()))
        elif who < 0.7:
            value = b"a" * 19 + self._word() + b"b" * 10
            headers.append(("Cookie", SESSION_COOKIE.encode() + b"=" + value))
        elif who < 0.8:
            headers.append(("Authorization", b"Bearer sft_" + self._word()))
        if pick.random() < 0.4:
            headers.append(("Accept", b"text/html"))
        for _ in range(pick.choice((0, 0, 1, 1, 2, 3))):
            name, value = pick.choice(FIELDS), self._word()
            if name == "Expect":  # aiohttp itself answers 500 if it is not text
                value = value.decode("ascii", "ignore").encode()
            headers.append((name, value))
        if pick.random() < 0.02:
            headers.append(("X-Large", b"x" * 20_000))
        if pick.random() < 0.02:
            headers += [(f"X-{number}", b"y") for number in range(3000)]
        pick.shuffle(headers)
        return headers

    def _word(self) -> bytes:
        return (
            self._chance.choice(self._refs)
            if self._chance.random() < 0.3
            else self._chance.choice(WORDS)
        )

    def _noise(self) -> bytes:
        pick = self._chance
        return pick.choice(
            (
                pick.randbytes(pick.randint(1, 2000)),
                b"\r\n" * 200,
                b"GET / HTTP/1.1",
                b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                (
                    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: "
                    b"5\r\n\r\n0\r\n\r\n"
                ),
                (
                    b"POST /api/v1/stores HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"FFFFFFFFFFFFFFFFF\r\n"
                ),
                b"GET http://evil.com/ HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
                b"GET / HTTP/1.1\nHost: x\n\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            )
        )

    def websocket(self) -> bytes:
        """Build a valid or invalid handshake, and frames that violate RFC 6455."""
        pick = self._chance
        key = base64.b64encode(pick.randbytes(16)) if pick.random() < 0.9 else self._word()
        path = b"/api/v1/events" + pick.choice(
            (b"", b"?after=0", b"?after=" + self._word(), b"?after=1&after=2")
        )
        version = b"13" if pick.random() < 0.9 else self._word()
        headers = [
            (b"Host", b"127.0.0.1"),
            (b"Upgrade", b"websocket" if pick.random() < 0.9 else self._word()),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", key),
            (b"Sec-WebSocket-Version", version),
        ]
        who = pick.random()
        if who < 0.25:
            headers.append(
                (b"Authorization", b"Bearer " + pick.choice((b"", b"sft_", b"sft_" + self._word())))
            )
        elif who < 0.5:
            headers.append((b"Cookie", f"{SESSION_COOKIE}={pick.choice(self._cookies)}".encode()))
            headers.append(
                (
                    b"Origin",
                    pick.choice((b"http://evil.com", b"null", b"", b"http://[", self._word())),
                )
            )
        if pick.random() < 0.1:
            headers.append(
                (
                    b"Sec-WebSocket-Extensions",
                    pick.choice((b"permessage-deflate", b"x; y=z", self._word())),
                )
            )
        head = b"\r\n".join(
            [b"GET " + path + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
        )
        return head + b"\r\n\r\n" + b"".join(self._frame() for _ in range(pick.randint(0, 4)))

    def _frame(self) -> bytes:
        pick = self._chance
        payload = pick.choice(FRAMES) if pick.random() < 0.9 else pick.randbytes(100)
        first = pick.choice(
            (0x81, 0x82, 0x80, 0x01, 0x88, 0x89, 0x8A, 0xC1, 0x83, 0x8F, pick.randrange(256))
        )
        masked = 0x80 if pick.random() < 0.85 else 0
        size = len(payload)
        if pick.random() < 0.1:
            size = pick.choice((0, 1, 125, 65_535, 2**31, 2**63))
        if size < 126:
            length = bytes([masked | size])
        elif size < 65_536:
            length = bytes([masked | 126]) + size.to_bytes(2, "big")
        else:
            length = bytes([masked | 127]) + size.to_bytes(8, "big")
        mask = pick.randbytes(4) if masked else b""
        body = (
            bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            if masked
            else payload
        )
        return bytes([first]) + length + mask + body


async def send(port: int, request: bytes, *, hang_up: bool, patience: float = 8) -> HostileReply:
    """Send the request and read until the connection ends or pauses; status 0 is no HTTP."""
    answer = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(patience):
            writer.write(request)
            await writer.drain()
            if hang_up:
                writer.write_eof()
            while chunk := await asyncio.wait_for(
                reader.read(65_536), timeout=0.7 if answer else 1.2
            ):
                answer += chunk
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    first: Any = answer.split(b"\r\n", 1)[0].split(b" ")
    status = (
        int(first[1])
        if first[0].startswith(b"HTTP/") and len(first) > 1 and first[1].isdigit()
        else 0
    )
    return HostileReply(status, answer[:2000])
