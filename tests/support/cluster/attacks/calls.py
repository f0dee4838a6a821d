"""Harmful requests, and the rejection message expected from the API server."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.cluster.api_access import get_collection_path, get_object_path
from tests.support.cluster.attacks.namespace_setup import (
    PLATFORM_NAMESPACE,
    Manifest,
    NamespaceObjects,
    changed,
)

PROVISIONER, REAPER, GATEWAY, NOTIFIER = (
    f"system:serviceaccount:{PLATFORM_NAMESPACE}:{name}"
    for name in ("provisioner", "reaper", "gateway", "notifier")
)
ADMINISTRATOR = None
RBAC = "rbac.authorization.k8s.io/v1"
FORBIDDEN = "cannot"
#: A namespace without our labels whose name looks like a store's.
FOREIGN = "st-foreignforeignfo"
NOBODY = "6f3f9f3a-0000-4000-8000-000000000000"
BOGUS_OWNER = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": NOBODY}]


class Call(NamedTuple):
    """One request to the API server."""

    method: str
    path: str
    body: Any = None


class Attack(NamedTuple):
    """A harmful request; `refusal` is part of the expected message, other reasons do not count."""

    title: str
    who: str | None
    refusal: str
    call: Callable[[NamespaceObjects], Call]
    merge: bool = False


def create(manifest: Manifest) -> Call:
    return Call("POST", get_collection_path(manifest), manifest)


def apply(manifest: Manifest) -> Call:
    return Call("PATCH", get_object_path(manifest), manifest)


def get(path: str) -> Call:
    return Call("GET", path)


def delete(path: str, **body: Any) -> Call:
    return Call("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **body})


def merged(path: str, **body: Any) -> Call:
    return Call("PATCH", path, body)


def within(ground: NamespaceObjects, rest: str, api: str = "/api/v1") -> str:
    return f"{api}/namespaces/{ground.name}/{rest}"


def namespace(name: str) -> str:
    return f"/api/v1/namespaces/{name}"


def other(name: str = "", **metadata: Any) -> Manifest:
    """Build the namespace of another store, which does not exist yet."""
    made = changed(NamespaceObjects("other").namespace, **metadata)
    return changed(made, name=name) if name else made


def binding(ground: NamespaceObjects, **change: Any) -> Manifest:
    return {**ground.bindings[0], **change}


def elsewhere(manifest: Manifest, place: str = PLATFORM_NAMESPACE) -> Manifest:
    return changed(manifest, namespace=place)


def loosened(manifest: Manifest, **spec: Any) -> Manifest:
    return {**manifest, "spec": {**manifest["spec"], **spec}}


def policy(ground: NamespaceObjects, name: str, **spec: Any) -> Manifest:
    """Build a network policy of that name for the namespace without policies."""
    return ground.bare.object(
        "networking.k8s.io/v1", "NetworkPolicy", name, spec={"podSelector": {}, **spec}
    )


def account(name: str, place: str = PLATFORM_NAMESPACE) -> list[dict[str, str]]:
    return [{"kind": "ServiceAccount", "name": name, "namespace": place}]


def role(name: str, kind: str = "ClusterRole") -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
