"""Plain requests to a real API server under any account, and their responses."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes_asyncio import client, config

#: Read at import, because the tests remove settings from the environment.
KUBECONFIG = os.environ.get("STOREFLEET_TEST_KUBECONFIG", "")
_TYPES = {"PATCH": "application/apply-patch+yaml"}


class Reply(NamedTuple):
    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", "")) if isinstance(self.body, dict) else str(self.body)


class Api:
    """Sends requests as the kubeconfig's administrator, or as an impersonated account."""

    def __init__(self, connection: client.ApiClient) -> None:
        self._connection = connection

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        as_: str | None = None,
        dry: bool = False,
        merge: bool = False,
        **query: str,
    ) -> Reply:
        """Send one request; PATCH is server-side apply or a merge patch."""
        headers = {"Accept": "application/json"}
        if as_ is not None:
            headers["Impersonate-User"] = as_
        if body is not None:
            headers["Content-Type"] = (
                "application/merge-patch+json" if merge else _TYPES.get(method, "application/json")
            )
        if method == "PATCH":
            query = {"fieldManager": "storefleet", **({} if merge else {"force": "true"}), **query}
        if dry:
            query["dryRun"] = "All"
            if method == "DELETE":  # whose body stands above the query
                body = {**body, "dryRun": ["All"]}
        response = await self._connection.call_api(
            path,
            method,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=30,
        )
        async with response:
            text = await response.text()
        try:
            return Reply(response.status, json.loads(text))
        except ValueError:
            return Reply(response.status, text)

    async def apply(
        self, manifest: dict[str, Any], *, as_: str | None = None, manager: str = "storefleet"
    ) -> Reply:
        """Apply the manifest server-side."""
        return await self.ask(
            "PATCH", get_object_path(manifest), manifest, as_=as_, fieldManager=manager
        )


@asynccontextmanager
async def open_api_server() -> AsyncIterator[Api]:
    """Open the API server of STOREFLEET_TEST_KUBECONFIG; fail without that setting."""
    assert KUBECONFIG, (
        "These tests need a cluster: name its administrator's kubeconfig by "
        "STOREFLEET_TEST_KUBECONFIG."
    )
    found = client.Configuration()
    await config.load_kube_config(
        config_file=str(Path(KUBECONFIG)), client_configuration=found, persist_config=False
    )
    async with client.ApiClient(found) as connection:
        yield Api(connection)


_PLURALS = {
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
}
_CLUSTER_WIDE = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


def get_collection_path(manifest: dict[str, Any]) -> str:
    """Return the collection path of the manifest's kind and namespace."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{manifest['metadata']['namespace']}/{plural}"


def get_object_path(manifest: dict[str, Any]) -> str:
    return f"{get_collection_path(manifest)}/{manifest['metadata']['name']}"
