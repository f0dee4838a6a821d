"""The API server, spoken to with the standard library alone."""

import json
import ssl
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.devcluster.layout import Network

TIMEOUT = 10.0
WATCH_SECONDS = 240
ANSWER_LIMIT = 64 * 1024 * 1024
FIELD_MANAGER = "bare-cluster"


class ApiError(Exception):
    """The API server said no, or nothing; `status` is 0 when it could not be reached."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One user's way to the API server."""

    def __init__(self, network: Network, *, certificates: Path, user: str) -> None:
        self._host, self._port = str(network.node), 6443
        self._tls = ssl.create_default_context(cafile=certificates / "ca.crt")
        self._tls.load_cert_chain(certificates / f"{user}.crt", certificates / f"{user}.key")

    def get(self, path: str, *, timeout: float = TIMEOUT) -> Any:
        return self._answer("GET", path, timeout=timeout)

    def text(self, path: str, *, timeout: float = TIMEOUT) -> str:
        return self._read("GET", path, timeout=timeout).decode(errors="replace")

    def create(self, path: str, content: Any) -> Any:
        return self._answer("POST", path, content)

    def delete(self, path: str, *, uid: str) -> Any:
        return self._answer("DELETE", path, {"preconditions": {"uid": uid}})

    def apply(self, path: str, content: Any) -> Any:
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return self._answer(
            "PATCH", f"{path}?{query}", content, kind="application/apply-patch+yaml"
        )

    def watch(self, path: str, *, version: str) -> Iterator[dict[str, Any]]:
        """Changes after `version`, until the server closes or says nothing for too long."""
        query = urlencode(
            {
                "watch": "1",
                "resourceVersion": version,
                "timeoutSeconds": WATCH_SECONDS,
                "allowWatchBookmarks": "true",
            }
        )
        connection, response = self._open(
            "GET", f"{path}?{query}", None, timeout=WATCH_SECONDS + TIMEOUT
        )
        try:
            while line := response.readline(ANSWER_LIMIT):
                yield json.loads(line)
        except (OSError, HTTPException, ValueError) as error:
            raise ApiError(0, f"the watch of {path} broke: {error}") from error
        finally:
            connection.close()

    def _answer(self, method: str, path: str, content: Any = None, **options: Any) -> Any:
        body = self._read(method, path, content, **options)
        try:
            return json.loads(body)
        except ValueError as error:
            raise ApiError(0, f"{method} {path}: the answer is not JSON: {error}") from error

    def _read(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        kind: str = "application/json",
        timeout: float = TIMEOUT,
    ) -> bytes:
        connection, response = self._open(method, path, content, kind=kind, timeout=timeout)
        try:
            return response.read(ANSWER_LIMIT)
        except (OSError, HTTPException) as error:
            raise ApiError(0, f"{method} {path}: {error}") from error
        finally:
            connection.close()

    def _open(
        self,
        method: str,
        path: str,
        content: Any,
        *,
        kind: str = "application/json",
        timeout: float,
    ) -> tuple[HTTPSConnection, HTTPResponse]:
        connection = HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)
        body = None if content is None else json.dumps(content).encode()
        try:
            connection.request(
                method, path, body, {"Content-Type": kind, "Accept": "application/json, */*"}
            )
            response = connection.getresponse()
            if response.status >= 400:
                raise ApiError(response.status, f"{method} {path}: {_reason(response)}")
        except (OSError, HTTPException) as error:
            connection.close()
            raise ApiError(0, f"{method} {path}: {error}") from error
        except ApiError:
            connection.close()
            raise
        return connection, response


def _reason(response: HTTPResponse) -> str:
    """What the server says about its refusal: a Status object, or plain text."""
    text = response.read(4000).decode(errors="replace").strip()
    try:
        return f"{response.status} {json.loads(text)['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {text}"
