"""The one door to the gateway: requests with their repeats, answers as JSON, refusals as Problems.

The standard library's client is used because it is there at once: a listing costs no import of an event loop.
"""

import http.client
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from storefleet import __version__
from storefleet.cli.cli_errors import NotAllowed, Problem, Unreachable, next_step_of
from storefleet.cli.endpoint import Access
from storefleet.cli.output import messages

API = "/api/v1"
_CONNECT, _ANSWER = 10.0, 30.0
_LARGEST_ANSWER = 64 * 1024 * 1024
_PAGE = 100
_MOST_ROWS = 100_000
_PAUSES = (0.2, 0.5)
#: For what may be repeated without harm and is worth a longer try: a gateway that restarts is back within seconds.
PATIENT_PAUSES = (0.3, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Answer:
    """A success."""

    status: int
    body: Any
    request_id: str


class _Lost(Exception):
    """The connection failed; `sent` when the request may have arrived."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.sent = sent


class Api:
    """Calls in the name of one token."""

    def __init__(self, access: Access, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._access = access
        self._sleep = sleep
        self._parts = urlsplit(access.url)

    def get(self, path: str, query: Mapping[str, object] | None = None, *, wait: float = 0) -> Any:
        """The body of an answer; `wait` is how long the server may take on purpose, seconds."""
        return self.send("GET", path, query=query, repeatable=True, wait=wait).body

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        key: str | None = None,
        repeatable: bool = False,
        pauses: Sequence[float] = _PAUSES,
        wait: float = 0,
    ) -> Answer:
        """One request, repeated after a lost connection or a 503 if that does no harm; raises Problem, Unreachable."""
        request_id = f"cli_{secrets.token_hex(10)}"
        headers = self._headers(request_id, key)
        content = None if body is None else json.dumps(body).encode()
        target = _target(self._parts.path + API + path, query)
        for pause in (*pauses, None):
            try:
                return self._once(method, target, path, headers, content, wait)
            except _Lost as lost:
                if pause is None or (lost.sent and not repeatable):
                    raise self._unreachable(lost, request_id) from lost.cause
                cause = str(lost)
            except Problem as problem:
                if pause is None or problem.status != 503 or not repeatable:
                    raise
                cause = problem.code
            messages.debug(f"{method} {target}: {cause}; again in {pause} s")
            self._sleep(pause)
        raise AssertionError("the last round returns or raises")

    def listed(
        self, path: str, query: Mapping[str, object], *, limit: int | None, mark: str = "id"
    ) -> dict[str, Any]:
        """`{"data", "has_more"}` over as many pages as needed; `limit` None is all; `mark` names a row to the API."""
        most = _MOST_ROWS if limit is None else limit
        rows: list[dict[str, Any]] = []
        more = True
        while more and len(rows) < most:
            after = {"starting_after": rows[-1][mark]} if rows else {}
            page = self.get(path, {**query, **after, "limit": min(_PAGE, most - len(rows))})
            rows += page["data"]
            more = bool(page.get("has_more")) and bool(page["data"])
        return {"data": rows, "has_more": more}

    def _headers(self, request_id: str, key: str | None) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {self._access.token}",
            "Connection": "close",
            "User-Agent": f"storefleet-cli/{__version__}",
            "X-Request-Id": request_id,
        }
        return headers | {"Idempotency-Key": key} if key else headers

    def _once(
        self,
        method: str,
        target: str,
        path: str,
        headers: dict[str, str],
        content: bytes | None,
        wait: float,
    ) -> Answer:
        began, sent = time.monotonic(), False
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(_ANSWER + wait)
            sent = True
            typed = headers if content is None else {**headers, "Content-Type": "application/json"}
            connection.request(method, target, content, typed)
            response = connection.getresponse()
            raw = response.read(_LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise _Lost(error, sent=sent) from error
        finally:
            connection.close()
        request_id = response.headers.get("X-Request-Id") or headers["X-Request-Id"]
        elapsed = (time.monotonic() - began) * 1000
        messages.debug(
            f"{method} {target} -> {response.status} in {elapsed:.0f} ms (request {request_id})"
        )
        return self._read(response, raw, path, request_id)

    def _connection(self) -> http.client.HTTPConnection:
        kind = (
            http.client.HTTPSConnection
            if self._parts.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(self._parts.hostname or "", self._parts.port, timeout=_CONNECT)

    def _read(
        self, response: http.client.HTTPResponse, raw: bytes, path: str, request_id: str
    ) -> Answer:
        try:
            body = json.loads(raw) if raw else None
        except (ValueError, RecursionError):
            body = None
        if 200 <= response.status < 300 and (body is not None or response.status == 204):
            return Answer(response.status, body, request_id)
        raise _problem(response, body if isinstance(body, dict) else {}, path, request_id)

    def _unreachable(self, lost: _Lost, request_id: str) -> Unreachable:
        return Unreachable(
            f"The gateway at {self._access.url} does not answer: {explain(lost.cause)}.",
            code="gateway_unreachable",
            next_step="`storefleet status` shows what runs, `make up` starts it; or check STOREFLEET_URL",
            request_id=request_id,
        )


def path_of(*parts: str) -> str:
    """A path of parts that people wrote."""
    return "".join("/" + quote(part, safe="") for part in parts)


def explain(error: BaseException) -> str:
    """A system's error in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def _target(path: str, query: Mapping[str, object] | None) -> str:
    chosen = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(chosen)}" if chosen else path


def _problem(
    response: http.client.HTTPResponse, body: dict[str, Any], path: str, request_id: str
) -> Problem:
    status = response.status
    code = str(body.get("code") or f"http_{status}")
    detail = str(
        body.get("detail")
        or body.get("title")
        or f"What answers there said {status} without an explanation."
    )
    errors = [
        (str(error.get("pointer", "")), str(error.get("detail", "")))
        for error in body.get("errors") or ()
        if isinstance(error, dict)
    ]
    kind = NotAllowed if status in (401, 403) else Problem
    return kind(
        detail,
        code=code,
        next_step=next_step_of(
            code, status, path=path, retry_after=_seconds(response.headers.get("Retry-After"))
        ),
        status=status,
        request_id=str(body.get("request_id") or request_id),
        errors=errors,
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 8 else None
