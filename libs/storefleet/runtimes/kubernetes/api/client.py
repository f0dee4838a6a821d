"""The door to the Kubernetes API: a few verbs on plain objects; whatever goes wrong is raised as one of our errors."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from storefleet.core.errors import RuntimeUnavailable
from storefleet.observability import logs, metrics
from storefleet.runtimes.kubernetes.api.api_errors import map_api_response
from storefleet.runtimes.kubernetes.api.resource_kinds import (
    FIELD_MANAGER,
    Manifest,
    ResourceKind,
    get_kind,
)

log = logs.get_logger(__name__)

_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
_MAX_BODY_BYTES = 64 << 20
_PAGE_SIZE = 250
_METADATA_ONLY_ACCEPT = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class KubernetesClient:
    """One cluster, by a kubeconfig or, without one, by the service account of the pod."""

    def __init__(self, *, kubeconfig: str = "") -> None:
        self._kubeconfig = kubeconfig
        self._api_client: ApiClient | None = None
        self._connect_lock = asyncio.Lock()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["KubernetesClient"]:
        """Connections are made when they are needed, so that a service starts without a cluster."""
        try:
            yield self
        finally:
            await self._close_api_client()

    # reading --------------------------------------------------------------------------------------------------------

    async def check_readiness(self, *, timeout_s: float = 3) -> None:
        """Raise RuntimeUnavailable unless the API server says that it is ready."""
        async with self._open_response(
            "GET", "/readyz", timeout=aiohttp.ClientTimeout(total=timeout_s)
        ):
            return

    async def get(self, kind: ResourceKind, name: str, *, namespace: str = "") -> Manifest | None:
        path = kind.make_path(namespace=namespace, name=name)
        async with self._open_response("GET", path, kind=kind, allow_missing=True) as answer:
            return None if answer.status == 404 else await _read_object(answer)

    async def list_pages(
        self,
        kind: ResourceKind,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[Manifest, None]:
        """Every object of the kind, as lists of bounded length that are of one moment."""
        query = {"limit": str(_PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields}
        headers = {"Accept": _METADATA_ONLY_ACCEPT} if metadata_only else None
        while True:
            async with self._open_response(
                "GET", kind.make_path(namespace=namespace), kind=kind, query=query, headers=headers
            ) as answer:
                page = await _read_object(answer)
            yield page
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def list_objects(
        self,
        kind: ResourceKind,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> list[Manifest]:
        pages = self.list_pages(
            kind, namespace=namespace, labels=labels, fields=fields, metadata_only=metadata_only
        )
        return [item async for page in pages for item in page["items"] or ()]

    async def watch_objects(
        self,
        kind: ResourceKind,
        *,
        labels: str,
        resource_version: str,
        duration_s: int,
        idle_timeout_s: float,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Events of a watch from `version` on, for so many seconds; RuntimeUnavailable after `silence` or any trouble."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": labels,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(duration_s),
        }
        timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=idle_timeout_s)
        async with self._open_response(
            "GET", kind.make_path(), kind=kind, query=query, timeout=timeout, verb="WATCH"
        ) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def read_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail_lines: int,
        previous: bool = False,
        timestamps: bool = False,
    ) -> list[str]:
        """Last lines of a container, oldest first; none when it has not written, or is gone."""
        query = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(512 << 10)}
        query |= {
            name: "true"
            for name, wanted in (("previous", previous), ("timestamps", timestamps))
            if wanted
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        async with self._open_response(
            "GET", path, query=query, allow_missing=True, verb="LOG"
        ) as answer:
            if answer.status != 200:
                return []
            return (await _read_body(answer)).decode(errors="replace").splitlines()[-tail_lines:]

    # writing --------------------------------------------------------------------------------------------------------

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply in our name: made, or brought to what the manifest says."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        kind, name = get_kind(manifest), manifest["metadata"]["name"]
        path = kind.make_path(namespace=manifest["metadata"].get("namespace", ""), name=name)
        async with self._open_response(
            "PATCH", path, kind=kind, query=query, headers=headers, body=manifest
        ) as answer:
            return await _read_object(answer)

    async def create(self, manifest: Manifest) -> bool:
        """Make it unless there is one of that name; whether it was made."""
        kind, namespace = get_kind(manifest), manifest["metadata"]["namespace"]
        path, query = kind.make_path(namespace=namespace), {"fieldManager": FIELD_MANAGER}
        async with self._open_response(
            "POST", path, kind=kind, query=query, body=manifest, allow_conflict=True
        ) as answer:
            return answer.status != 409

    async def patch(
        self, kind: ResourceKind, name: str, change: Manifest, *, namespace: str
    ) -> bool:
        """Merge a change into an object; whether there is one."""
        headers = {"Content-Type": "application/merge-patch+json"}
        path, query = (
            kind.make_path(namespace=namespace, name=name),
            {"fieldManager": FIELD_MANAGER},
        )
        async with self._open_response(
            "PATCH", path, kind=kind, query=query, headers=headers, body=change, allow_missing=True
        ) as answer:
            return answer.status != 404

    async def delete(self, kind: ResourceKind, name: str, *, uid: str, namespace: str = "") -> bool:
        """Delete the object with this UID and no other; whether it was there."""
        body = {**_DELETE_OPTIONS, "preconditions": {"uid": uid}}
        path = kind.make_path(namespace=namespace, name=name)
        async with self._open_response(
            "DELETE", path, kind=kind, body=body, allow_missing=True
        ) as answer:
            return answer.status != 404

    async def delete_collection(
        self, kind: ResourceKind, *, namespace: str, grace_period_s: int
    ) -> None:
        """Delete all of a kind in a namespace; pods get so many seconds."""
        body = {**_DELETE_OPTIONS, "gracePeriodSeconds": grace_period_s}
        async with self._open_response(
            "DELETE", kind.make_path(namespace=namespace), kind=kind, body=body, allow_missing=True
        ):
            return

    # the wire -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open_response(
        self,
        method: str,
        path: str,
        *,
        kind: ResourceKind | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        timeout: aiohttp.ClientTimeout = _REQUEST_TIMEOUT,
        allow_missing: bool = False,
        allow_conflict: bool = False,
        verb: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body can be read; statuses that the caller does not expect are raised."""
        expected = {404: allow_missing, 409: allow_conflict}
        labels = [verb or method, kind.plural if kind else "-"]
        try:
            response = await self._send_request(
                method, path, query or {}, headers or {}, body, timeout
            )
            metrics.KUBERNETES_REQUESTS.labels(*labels, str(response.status)).inc()
            async with response:
                if not 200 <= response.status < 300 and not expected.get(response.status):
                    await self._raise_api_error(response, _describe_request(method, path, kind))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            metrics.KUBERNETES_REQUESTS.labels(*labels, "unavailable").inc()
            what = str(error) or type(error).__name__
            raise RuntimeUnavailable(
                f"The cluster's API server does not answer: {what[:200]}"
            ) from None

    async def _send_request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Manifest | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        client = await self._get_api_client()
        try:
            response: aiohttp.ClientResponse = await client.call_api(
                path,
                method,
                query_params=[(name, value) for name, value in query.items() if value],
                header_params={"Accept": "application/json, */*", **headers},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
        except RuntimeError as error:  # another request was refused, and has closed the connections
            raise RuntimeUnavailable(
                f"The connection to the cluster is made anew: {error}"
            ) from None
        return response

    async def _raise_api_error(self, response: aiohttp.ClientResponse, subject: str) -> None:
        if response.status == 401:  # keys may have been renewed in the file they came from
            await self._close_api_client()
        raw = (await _read_body(response)).decode(errors="replace")
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

    async def _close_api_client(self) -> None:
        client, self._api_client = self._api_client, None
        if client is not None:
            await client.close()


_DELETE_OPTIONS: Manifest = {
    "apiVersion": "v1",
    "kind": "DeleteOptions",
    "propagationPolicy": "Background",
}


async def _load_configuration(kubeconfig: str) -> Configuration:
    """Where the cluster is and who we are; tokens of the pod are read again as they are renewed."""
    found = Configuration()
    try:
        if kubeconfig:
            await config.load_kube_config(
                config_file=kubeconfig, client_configuration=found, persist_config=False
            )
        else:
            config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, yaml.YAMLError, KeyError, TypeError) as error:
        where = kubeconfig or "the pod's service account"
        raise RuntimeUnavailable(
            f"The address and keys of the cluster cannot be read from {where}: {error}"
        ) from None
    return found


def _describe_request(method: str, path: str, kind: ResourceKind | None) -> str:
    """What was tried, in words."""
    verb = {"GET": "Reading", "POST": "Making", "PATCH": "Applying", "DELETE": "Deleting"}[method]
    name = path.rpartition("/")[2]
    if kind is None:
        return f"{verb} {name}"
    return f"{verb} {kind.plural}" if name == kind.plural else f"{verb} the {kind.name} {name}"


async def _read_object(answer: aiohttp.ClientResponse) -> Manifest:
    content: Manifest = json.loads(await _read_body(answer))
    return content


async def _read_body(answer: aiohttp.ClientResponse) -> bytes:
    """All of it, as long as it is not larger than anything that could be meant."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _MAX_BODY_BYTES:
            raise aiohttp.ClientPayloadError(f"the answer is larger than {_MAX_BODY_BYTES} bytes")
    return b"".join(parts)
