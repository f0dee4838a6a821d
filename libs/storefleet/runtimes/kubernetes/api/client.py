"""The client of the Kubernetes API: a few verbs on plain JSON objects.

Every failure is raised as one of the platform's errors; the mapping is in `connection` and
`api_errors`. The steps and the watcher use this client and never kubernetes_asyncio itself.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.core.yaml_encoding import encode_for_yaml
from storefleet.runtimes.kubernetes.api.connection import ApiConnection, read_body, read_object
from storefleet.runtimes.kubernetes.api.resource_kinds import (
    FIELD_MANAGER,
    Manifest,
    ResourceKind,
    get_kind,
)

_PAGE_SIZE = 250
_MAX_LOG_BYTES = 512 << 10
_METADATA_ONLY_ACCEPT = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#: The API server reads these bodies as YAML. kubernetes_asyncio would encode them with surrogate
#: escapes; the parameter makes it send the bytes that it is given.
_APPLY_CONTENT_TYPE = "application/apply-patch+yaml; charset=utf-8"
_DELETE_OPTIONS: Manifest = {
    "apiVersion": "v1",
    "kind": "DeleteOptions",
    "propagationPolicy": "Background",
}


class KubernetesClient:
    """Reads and writes objects of one cluster.

    All methods raise `RuntimeUnavailable` if the API server is unreachable, and otherwise the
    errors of `map_api_response`.
    """

    def __init__(self, *, kubeconfig: str = "") -> None:
        """Configure the client without connecting.

        Args:
            kubeconfig: Path of a kubeconfig file; empty for the pod's service account.
        """
        self._connection = ApiConnection(kubeconfig=kubeconfig)

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["KubernetesClient"]:
        """Close the connections at exit; they open on demand, so no cluster is needed at start."""
        try:
            yield self
        finally:
            await self._connection.close()

    async def check_readiness(self, *, timeout_s: float = 3) -> None:
        """Check that the API server reports itself ready.

        Raises:
            RuntimeUnavailable: It does not, or does not respond in time.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._connection.open_response("GET", "/readyz", timeout=timeout):
            return

    async def get(self, kind: ResourceKind, name: str, *, namespace: str = "") -> Manifest | None:
        """Read an object; return None if it does not exist."""
        path = kind.make_path(namespace=namespace, name=name)
        async with self._connection.open_response(
            "GET", path, kind=kind, allow_missing=True
        ) as response:
            return None if response.status == 404 else await read_object(response)

    async def list_pages(
        self,
        kind: ResourceKind,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[Manifest, None]:
        """List the objects of a kind page by page; all pages are from one consistent list.

        Args:
            kind: Kind of the objects.
            namespace: Empty for all namespaces.
            labels: Label selector.
            fields: Field selector.
            metadata_only: Read only the metadata, so that no content of a Secret is transferred.

        Yields:
            List objects with up to 250 `items`.
        """
        query = {"limit": str(_PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields}
        headers = {"Accept": _METADATA_ONLY_ACCEPT} if metadata_only else None
        path = kind.make_path(namespace=namespace)
        while True:
            async with self._connection.open_response(
                "GET", path, kind=kind, query=query, headers=headers
            ) as response:
                page = await read_object(response)
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
        """List all objects of a kind; the arguments are those of `list_pages`."""
        pages = self.list_pages(
            kind, namespace=namespace, labels=labels, fields=fields, metadata_only=metadata_only
        )
        found: list[Manifest] = []
        async for page in pages:
            found.extend(page["items"] or ())
        return found

    async def watch_objects(
        self,
        kind: ResourceKind,
        *,
        labels: str,
        resource_version: str,
        duration_s: int,
        idle_timeout_s: float,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Watch the objects of a kind in all namespaces.

        Args:
            kind: Kind of the objects.
            labels: Label selector.
            resource_version: Version after which changes are sent.
            duration_s: Seconds after which the server ends the watch.
            idle_timeout_s: Seconds without any data after which the connection counts as dead.

        Yields:
            Watch events, `{"type": …, "object": …}`, including bookmarks.

        Raises:
            RuntimeUnavailable: The connection failed or was idle for too long.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": labels,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(duration_s),
        }
        timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=idle_timeout_s)
        async with self._connection.open_response(
            "GET", kind.make_path(), kind=kind, query=query, timeout=timeout, verb="WATCH"
        ) as response:
            async for line in response.content:
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
        """Read the last lines of a container's log, oldest first.

        Args:
            namespace: Namespace of the pod.
            pod: Name of the pod.
            container: Name of the container.
            tail_lines: Maximum number of lines; at most 512 KiB are read.
            previous: Read the log of the container's previous run.
            timestamps: Begin each line with its time.

        Returns:
            The lines; empty if the container has written nothing or does not exist.
        """
        query = {
            "container": container,
            "tailLines": str(tail_lines),
            "limitBytes": str(_MAX_LOG_BYTES),
            "previous": "true" if previous else "",
            "timestamps": "true" if timestamps else "",
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        async with self._connection.open_response(
            "GET", path, query=query, allow_missing=True, verb="LOG"
        ) as response:
            if response.status != 200:
                return []
            text = (await read_body(response)).decode(errors="replace")
            return text.splitlines()[-tail_lines:]

    async def apply(self, manifest: Manifest) -> Manifest:
        """Create or update an object by server-side apply (KEP-555) as our field manager.

        Returns:
            The object as the API server stored it.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        headers = {"Content-Type": _APPLY_CONTENT_TYPE}
        kind, metadata = get_kind(manifest), manifest["metadata"]
        path = kind.make_path(namespace=metadata.get("namespace", ""), name=metadata["name"])
        async with self._connection.open_response(
            "PATCH",
            path,
            kind=kind,
            query=query,
            headers=headers,
            body=encode_for_yaml(manifest),
        ) as response:
            return await read_object(response)

    async def create(self, manifest: Manifest) -> bool:
        """Create an object; return False if one of that name exists already."""
        kind, namespace = get_kind(manifest), manifest["metadata"]["namespace"]
        path, query = kind.make_path(namespace=namespace), {"fieldManager": FIELD_MANAGER}
        async with self._connection.open_response(
            "POST", path, kind=kind, query=query, body=manifest, allow_conflict=True
        ) as response:
            return response.status != 409

    async def patch(
        self, kind: ResourceKind, name: str, change: Manifest, *, namespace: str
    ) -> bool:
        """Apply a JSON merge patch (RFC 7386) to an object; return False if it does not exist."""
        headers = {"Content-Type": "application/merge-patch+json"}
        path = kind.make_path(namespace=namespace, name=name)
        query = {"fieldManager": FIELD_MANAGER}
        async with self._connection.open_response(
            "PATCH", path, kind=kind, query=query, headers=headers, body=change, allow_missing=True
        ) as response:
            return response.status != 404

    async def delete(self, kind: ResourceKind, name: str, *, uid: str, namespace: str = "") -> bool:
        """Delete the object with this UID; return False if it does not exist.

        A different object of the same name is not deleted: the UID is a precondition of the
        request.
        """
        body = {**_DELETE_OPTIONS, "preconditions": {"uid": uid}}
        path = kind.make_path(namespace=namespace, name=name)
        async with self._connection.open_response(
            "DELETE", path, kind=kind, body=body, allow_missing=True
        ) as response:
            return response.status != 404

    async def delete_collection(
        self, kind: ResourceKind, *, namespace: str, grace_period_s: int
    ) -> None:
        """Delete all objects of a kind in a namespace; `grace_period_s` applies to pods."""
        body = {**_DELETE_OPTIONS, "gracePeriodSeconds": grace_period_s}
        path = kind.make_path(namespace=namespace)
        async with self._connection.open_response(
            "DELETE", path, kind=kind, body=body, allow_missing=True
        ):
            return
