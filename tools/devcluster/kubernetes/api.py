"""A client of the Kubernetes API server that needs only the standard library."""

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
    """A request failed; `status` is the HTTP status, or 0 when the server was unreachable."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiClient:
    """Requests to the API server as one user, authenticated by the user's certificate."""

    def __init__(self, network: Network, *, certificates: Path, user: str) -> None:
        self._host, self._port = str(network.node), 6443
        self._tls = ssl.create_default_context(cafile=certificates / "ca.crt")
        self._tls.load_cert_chain(certificates / f"{user}.crt", certificates / f"{user}.key")

    def get(self, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Get an object or a list."""
        return self._request_json("GET", path, timeout_s=timeout_s)

    def get_text(self, path: str, *, timeout_s: float = TIMEOUT_S) -> str:
        """Get a path that answers with plain text, such as /readyz."""
        return self._request_bytes("GET", path, timeout_s=timeout_s).decode(errors="replace")

    def create(self, path: str, content: Any) -> Any:
        """Create an object in the collection `path`."""
        return self._request_json("POST", path, content)

    def delete(self, path: str, *, uid: str) -> Any:
        """Delete the object that has this `uid`, and no later object of the same name."""
        return self._request_json("DELETE", path, {"preconditions": {"uid": uid}})

    def apply(self, path: str, content: Any) -> Any:
        """Create or update an object by server-side apply."""
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return self._request_json(
            "PATCH", f"{path}?{query}", content, content_type="application/apply-patch+yaml"
        )

    def watch(self, path: str, *, version: str) -> Iterator[dict[str, Any]]:
        """Iterate over changes after the resource version `version` until the connection ends."""
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
            raise ApiError(0, f"The watch of {path} ended: {error}") from error
        finally:
            connection.close()

    def _request_json(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        content_type: str = "application/json",
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        body = self._request_bytes(
            method, path, content, content_type=content_type, timeout_s=timeout_s
        )
        try:
            return json.loads(body)
        except ValueError as error:
            raise ApiError(0, f"{method} {path}: the response is not JSON: {error}") from error

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
    """Read the message of an error response: a Status object, or plain text."""
    text = response.read(4000).decode(errors="replace").strip()
    try:
        return f"{response.status} {json.loads(text)['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {text}"
