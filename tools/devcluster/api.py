"""The API server, spoken to with the standard library alone."""

import json
import ssl
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.devcluster.layout import Network

TIMEOUT_S = 10.0
WATCH_S = 240
RESPONSE_LIMIT_BYTES = 64 * 1024 * 1024
FIELD_MANAGER = "bare-cluster"


class ApiError(Exception):
    """The API server said no, or nothing; `status` is 0 when it could not be reached."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiClient:
    """One user's way to the API server."""

    def __init__(self, network: Network, *, certificates: Path, user: str) -> None:
        self._host, self._port = str(network.node), 6443
        self._tls = ssl.create_default_context(cafile=certificates / "ca.crt")
        self._tls.load_cert_chain(certificates / f"{user}.crt", certificates / f"{user}.key")

    def get(self, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
        return self._request_json("GET", path, timeout=timeout_s)

    def get_text(self, path: str, *, timeout_s: float = TIMEOUT_S) -> str:
        return self._request_bytes("GET", path, timeout_s=timeout_s).decode(errors="replace")

    def create(self, path: str, content: Any) -> Any:
        return self._request_json("POST", path, content)

    def delete(self, path: str, *, uid: str) -> Any:
        return self._request_json("DELETE", path, {"preconditions": {"uid": uid}})

    def apply(self, path: str, content: Any) -> Any:
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return self._request_json(
            "PATCH", f"{path}?{query}", content, kind="application/apply-patch+yaml"
        )

    def watch(self, path: str, *, version: str) -> Iterator[dict[str, Any]]:
        """Changes after `version`, until the server closes or says nothing for too long."""
        query = urlencode(
            {
                "watch": "1",
                "resourceVersion": version,
                "timeoutSeconds": WATCH_S,
                "allowWatchBookmarks": "true",
            }
        )
        connection, response = self._send_request(
            "GET", f"{path}?{query}", None, timeout_s=WATCH_S + TIMEOUT_S
        )
        try:
            while line := response.readline(RESPONSE_LIMIT_BYTES):
                yield json.loads(line)
        except (OSError, HTTPException, ValueError) as error:
            raise ApiError(0, f"the watch of {path} broke: {error}") from error
        finally:
            connection.close()

    def _request_json(self, method: str, path: str, content: Any = None, **options: Any) -> Any:
        body = self._request_bytes(method, path, content, **options)
        try:
            return json.loads(body)
        except ValueError as error:
            raise ApiError(0, f"{method} {path}: the answer is not JSON: {error}") from error

    def _request_bytes(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        content_type: str = "application/json",
        timeout_s: float = TIMEOUT_S,
    ) -> bytes:
        connection, response = self._send_request(
            method, path, content, content_type=content_type, timeout_s=timeout_s
        )
        try:
            return response.read(RESPONSE_LIMIT_BYTES)
        except (OSError, HTTPException) as error:
            raise ApiError(0, f"{method} {path}: {error}") from error
        finally:
            connection.close()

    def _send_request(
        self,
        method: str,
        path: str,
        content: Any,
        *,
        content_type: str = "application/json",
        timeout_s: float,
    ) -> tuple[HTTPSConnection, HTTPResponse]:
        connection = HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        body = None if content is None else json.dumps(content).encode()
        try:
            connection.request(
                method,
                path,
                body,
                {"Content-Type": content_type, "Accept": "application/json, */*"},
            )
            response = connection.getresponse()
            if response.status >= 400:
                raise ApiError(response.status, f"{method} {path}: {_read_error_message(response)}")
        except (OSError, HTTPException) as error:
            connection.close()
            raise ApiError(0, f"{method} {path}: {error}") from error
        except ApiError:
            connection.close()
            raise
        return connection, response


def _read_error_message(response: HTTPResponse) -> str:
    """What the server says about its refusal: a Status object, or plain text."""
    text = response.read(4000).decode(errors="replace").strip()
    try:
        return f"{response.status} {json.loads(text)['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {text}"
