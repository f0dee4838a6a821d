"""The HTTP client of the gateway: retries, JSON bodies, and problems as exceptions.

It uses the standard library's client, because importing an event loop would slow down every
short command. The event stream has its own client in `event_stream`.
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
from storefleet.cli.cli_errors import AccessDenied, ApiProblem, ServiceUnreachable, find_next_step
from storefleet.cli.endpoint import ApiAccess
from storefleet.cli.output import messages

API_PREFIX = "/api/v1"
_CONNECT_TIMEOUT_S, _RESPONSE_TIMEOUT_S = 10.0, 30.0
_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_PAGE_SIZE = 100
_MAX_ROWS = 100_000
_RETRY_PAUSES_S = (0.2, 0.5)
#: For idempotent writes that are worth a longer wait: a gateway restarts within seconds.
LONG_RETRY_PAUSES_S = (0.3, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class ApiResponse:
    """A successful response: status, parsed JSON body, request id."""

    status: int
    body: Any
    request_id: str


class _ConnectionLost(Exception):
    """The connection failed; `sent` is true if the request may have arrived."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.sent = sent


class GatewayClient:
    """Sends requests to the gateway with one token."""

    def __init__(self, access: ApiAccess, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._access = access
        self._sleep = sleep
        self._parts = urlsplit(access.url)

    def get(
        self, path: str, query: Mapping[str, object] | None = None, *, wait_s: float = 0
    ) -> Any:
        """Send a GET request, with retries.

        Args:
            path: The path below `/api/v1`.
            query: Query parameters; None values are left out.
            wait_s: How long the server may delay its response on purpose (long poll), in seconds.

        Returns:
            The parsed JSON body.

        Raises:
            ApiProblem: The API rejected the request.
            ServiceUnreachable: The gateway does not answer.
        """
        return self.send("GET", path, query=query, repeatable=True, wait_s=wait_s).body

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        idempotency_key: str | None = None,
        repeatable: bool = False,
        pauses_s: Sequence[float] = _RETRY_PAUSES_S,
        wait_s: float = 0,
    ) -> ApiResponse:
        """Send one request; repeat it after a lost connection or a 503 where that is safe.

        Args:
            method: The HTTP method.
            path: The path below `/api/v1`.
            query: Query parameters; None values are left out.
            body: The JSON body; None sends no body.
            idempotency_key: The value of the header `Idempotency-Key`.
            repeatable: Whether the request may be repeated although it may have arrived.
            pauses_s: The pauses between the attempts, in seconds.
            wait_s: How long the server may delay its response on purpose, in seconds.

        Returns:
            The successful response.

        Raises:
            ApiProblem: The API rejected the request.
            ServiceUnreachable: The gateway does not answer.
        """
        request_id = f"cli_{secrets.token_hex(10)}"
        headers = self._make_headers(request_id, idempotency_key)
        content = None if body is None else json.dumps(body).encode()
        target = _make_target(self._parts.path + API_PREFIX + path, query)
        for pause_s in (*pauses_s, None):
            try:
                return self._send_once(method, target, path, headers, content, wait_s)
            except _ConnectionLost as lost:
                if pause_s is None or (lost.sent and not repeatable):
                    raise self._make_unreachable_error(lost, request_id) from lost.cause
                cause = str(lost)
            except ApiProblem as problem:
                if pause_s is None or problem.status != 503 or not repeatable:
                    raise
                cause = problem.code
            messages.write_debug(f"{method} {target}: {cause}; retry in {pause_s} s")
            self._sleep(pause_s)
        raise AssertionError("the last round returns or raises")

    def list_rows(
        self, path: str, query: Mapping[str, object], *, max_rows: int | None, id_field: str = "id"
    ) -> dict[str, Any]:
        """Fetch as many pages of a list as needed.

        Args:
            path: The path below `/api/v1`.
            query: Filters of the list.
            max_rows: The maximum number of rows; None fetches all.
            id_field: The field whose value the API takes as `starting_after`.

        Returns:
            `{"data": rows, "has_more": bool}`, as one page of the API.

        Raises:
            ApiProblem: The API rejected the request.
            ServiceUnreachable: The gateway does not answer.
        """
        limit = _MAX_ROWS if max_rows is None else max_rows
        rows: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(rows) < limit:
            after = {"starting_after": rows[-1][id_field]} if rows else {}
            page_size = min(_PAGE_SIZE, limit - len(rows))
            page = self.get(path, {**query, **after, "limit": page_size})
            rows += page["data"]
            has_more = bool(page.get("has_more")) and bool(page["data"])
        return {"data": rows, "has_more": has_more}

    def _make_headers(self, request_id: str, idempotency_key: str | None) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {self._access.token}",
            "Connection": "close",
            "User-Agent": f"storefleet-cli/{__version__}",
            "X-Request-Id": request_id,
        }
        return headers | {"Idempotency-Key": idempotency_key} if idempotency_key else headers

    def _send_once(
        self,
        method: str,
        target: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None,
        wait_s: float,
    ) -> ApiResponse:
        started_s, sent = time.monotonic(), False
        connection = self._make_connection()
        try:
            connection.connect()
            connection.sock.settimeout(_RESPONSE_TIMEOUT_S + wait_s)
            sent = True
            if body is not None:
                headers = {**headers, "Content-Type": "application/json"}
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            content = response.read(_MAX_RESPONSE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _ConnectionLost(error, sent=sent) from error
        finally:
            connection.close()
        request_id = response.headers.get("X-Request-Id") or headers["X-Request-Id"]
        elapsed_ms = (time.monotonic() - started_s) * 1000
        messages.write_debug(
            f"{method} {target} -> {response.status} in {elapsed_ms:.0f} ms (request {request_id})"
        )
        return self._read_response(response, content, path, request_id)

    def _make_connection(self) -> http.client.HTTPConnection:
        is_tls = self._parts.scheme == "https"
        connection_class = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        return connection_class(
            self._parts.hostname or "", self._parts.port, timeout=_CONNECT_TIMEOUT_S
        )

    def _read_response(
        self, response: http.client.HTTPResponse, raw: bytes, path: str, request_id: str
    ) -> ApiResponse:
        try:
            body = json.loads(raw) if raw else None
        except (ValueError, RecursionError):
            body = None
        if 200 <= response.status < 300 and (body is not None or response.status == 204):
            return ApiResponse(response.status, body, request_id)
        raise _make_problem(response, body if isinstance(body, dict) else {}, path, request_id)

    def _make_unreachable_error(self, lost: _ConnectionLost, request_id: str) -> ServiceUnreachable:
        return ServiceUnreachable(
            f"The gateway at {self._access.url} does not answer: {describe_error(lost.cause)}.",
            code="gateway_unreachable",
            next_step="`storefleet status` shows what runs, `make up` starts the platform; "
            "or check STOREFLEET_URL",
            request_id=request_id,
        )


def make_path(*parts: str) -> str:
    """Build a path from user input; every part stays one segment."""
    return "".join("/" + quote(part, safe="") for part in parts)


def describe_error(error: BaseException) -> str:
    """Describe a system error in a few words, without a full stop."""
    if isinstance(error, TimeoutError):
        return "no response in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def _make_target(path: str, query: Mapping[str, object] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _make_problem(
    response: http.client.HTTPResponse, body: dict[str, Any], path: str, request_id: str
) -> ApiProblem:
    status = response.status
    code = str(body.get("code") or f"http_{status}")
    unexplained = f"The server answered with status {status} and no explanation."
    errors = [
        (str(error.get("pointer", "")), str(error.get("detail", "")))
        for error in body.get("errors") or ()
        if isinstance(error, dict)
    ]
    retry_after_s = _parse_retry_after(response.headers.get("Retry-After"))
    problem_class = AccessDenied if status in (401, 403) else ApiProblem
    return problem_class(
        str(body.get("detail") or body.get("title") or unexplained),
        code=code,
        next_step=find_next_step(code, status, path=path, retry_after_s=retry_after_s),
        status=status,
        request_id=str(body.get("request_id") or request_id),
        errors=errors,
    )


def _parse_retry_after(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 8 else None
