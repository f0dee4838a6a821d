"""The connection to the Kubernetes API server: credentials, requests, mapping of failures.

`client` builds its operations on `ApiConnection.open_response`. Requests use the HTTP stack of
kubernetes_asyncio, which handles kubeconfig files, client certificates and token renewal.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from storefleet.core.errors import RuntimeUnavailable
from storefleet.observability import metrics
from storefleet.runtimes.kubernetes.api.api_errors import map_api_response
from storefleet.runtimes.kubernetes.api.resource_kinds import FIELD_MANAGER, Manifest, ResourceKind

_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
_MAX_BODY_BYTES = 64 << 20
_VERBS = {"GET": "Reading", "POST": "Creating", "PATCH": "Applying", "DELETE": "Deleting"}


class ApiConnection:
    """Sends requests to one API server and maps failures to the platform's errors."""

    def __init__(self, *, kubeconfig: str = "") -> None:
        """Configure the connection without opening it.

        Args:
            kubeconfig: Path of a kubeconfig file; empty for the pod's service account.
        """
        self._kubeconfig = kubeconfig
        self._api_client: ApiClient | None = None
        self._connect_lock = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections; the next request reads the credentials again."""
        api_client, self._api_client = self._api_client, None
        if api_client is not None:
            await api_client.close()

    @asynccontextmanager
    async def open_response(
        self,
        method: str,
        path: str,
        *,
        kind: ResourceKind | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Manifest | bytes | None = None,
        timeout: aiohttp.ClientTimeout = _REQUEST_TIMEOUT,
        allow_missing: bool = False,
        allow_conflict: bool = False,
        verb: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield its response, whose body is not read yet.

        Args:
            method: HTTP method.
            path: Absolute path on the API server.
            kind: Kind of the object, for metrics and error texts.
            query: Query parameters; empty values are left out.
            headers: Additional headers.
            body: JSON body, as an object or encoded.
            timeout: Limits of the request.
            allow_missing: Yield a 404 response instead of raising.
            allow_conflict: Yield a 409 response instead of raising.
            verb: Label of the request in the metrics; by default the method.

        Yields:
            The response, with a status of 200 to 299 or one that was allowed.

        Raises:
            RuntimeUnavailable: The API server is unreachable, overloaded, or rejects the
                credentials.
            StorefleetError: See `map_api_response`.
        """
        allowed = {404: allow_missing, 409: allow_conflict}
        labels = [verb or method, kind.plural if kind else "-"]
        try:
            response = await self._send_request(
                method, path, query or {}, headers or {}, body, timeout
            )
            metrics.KUBERNETES_REQUESTS.labels(*labels, str(response.status)).inc()
            async with response:
                if not 200 <= response.status < 300 and not allowed.get(response.status):
                    await self._raise_api_error(response, _describe_request(method, path, kind))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            metrics.KUBERNETES_REQUESTS.labels(*labels, "unavailable").inc()
            reason = str(error) or type(error).__name__
            raise RuntimeUnavailable(f"The API server does not respond: {reason[:200]}") from None

    async def _send_request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Manifest | bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        api_client = await self._get_api_client()
        try:
            response: aiohttp.ClientResponse = await api_client.call_api(
                path,
                method,
                query_params=[(name, value) for name, value in query.items() if value],
                header_params={"Accept": "application/json, */*", **headers},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
        except RuntimeError as error:  # a concurrent request got 401 and closed the connections
            raise RuntimeUnavailable(
                f"The connection to the API server was closed: {error}. It is reopened."
            ) from None
        return response

    async def _raise_api_error(self, response: aiohttp.ClientResponse, subject: str) -> None:
        if response.status == 401:  # the credentials may have been renewed in their file
            await self.close()
        raw = (await read_body(response)).decode(errors="replace")
        try:
            message = str(json.loads(raw).get("message") or raw)
        except (ValueError, AttributeError):
            message = raw
        raise map_api_response(response.status, message, subject=subject)

    async def _get_api_client(self) -> ApiClient:
        async with self._connect_lock:
            if self._api_client is None:
                self._api_client = ApiClient(await _load_configuration(self._kubeconfig))
                self._api_client.user_agent = FIELD_MANAGER
            return self._api_client


async def read_object(response: aiohttp.ClientResponse) -> Manifest:
    """Read a response body as one JSON object."""
    content: Manifest = json.loads(await read_body(response))
    return content


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Read a response body, up to 64 MiB.

    Raises:
        aiohttp.ClientPayloadError: The body is larger.
    """
    parts, size_bytes = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > _MAX_BODY_BYTES:
            raise aiohttp.ClientPayloadError(f"the response is larger than {_MAX_BODY_BYTES} bytes")
    return b"".join(parts)


async def _load_configuration(kubeconfig: str) -> Configuration:
    """Load server address and credentials; a pod's token is read again when it is renewed."""
    configuration = Configuration()
    try:
        if kubeconfig:
            await config.load_kube_config(
                config_file=kubeconfig,
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
    except (config.ConfigException, OSError, yaml.YAMLError, KeyError, TypeError) as error:
        source = kubeconfig or "the pod's service account"
        raise RuntimeUnavailable(
            f"The address and credentials of the cluster cannot be read from {source}: {error}"
        ) from None
    return configuration


def _describe_request(method: str, path: str, kind: ResourceKind | None) -> str:
    """Describe a failed request, as the beginning of an error text."""
    name = path.rpartition("/")[2]
    if kind is None:
        target = name
    elif name == kind.plural:
        target = kind.plural
    else:
        target = f"the {kind.name} {name}"
    return f"{_VERBS[method]} {target} failed"
