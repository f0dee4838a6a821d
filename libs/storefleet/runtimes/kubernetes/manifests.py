"""What a store's namespace holds before its chart comes: pure functions from a store to objects."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from storefleet.core.identifiers import resource_name
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Amounts, Engine, Plan
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Kind, Manifest
from storefleet.runtimes.kubernetes.exposure import make_exposure
from storefleet.runtimes.kubernetes.network_policies import make_network_policies

ADMIN_SECRET = "store-admin"
STORE_SECRET = "store-secrets"
#: Who may do what in the namespace: role binding, cluster role, service account of the platform. The first one comes
#: first, since it is what lets the provisioner make the rest.
BINDINGS = (
    ("storefleet-operator", "storefleet-store-operator", "provisioner"),
    ("storefleet-gateway", "storefleet-store-reader", "gateway"),
    ("storefleet-reaper", "storefleet-store-sweeper", "reaper"),
)


class Place(NamedTuple):
    """Where a store is, in the cluster and for people."""

    namespace: str
    host: str
    url: str
    authority: str  # the host as browsers send it


def place_of(store: Store, settings: Settings) -> Place:
    scheme, port = settings.store_scheme, settings.store_public_port
    host = f"{store.name}.{settings.store_domain}"
    usual = port in (0, {"http": 80, "https": 443}[scheme])
    authority = host if usual else f"{host}:{port}"
    return Place(resource_name(store.id), host, f"{scheme}://{authority}/", authority)


def ownership(store: Store) -> dict[str, str]:
    """Labels that say whose an object is."""
    return {resource_kinds.MANAGED_BY: resource_kinds.MANAGER, resource_kinds.STORE: store.id}


def make_namespace(store: Store, place: Place) -> Manifest:
    labels = {
        **ownership(store),
        resource_kinds.TENANT: store.tenant_id,
        resource_kinds.ENGINE: store.engine,
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    metadata = {
        "name": place.namespace,
        "labels": labels,
        "annotations": {resource_kinds.HOST: place.host},
    }
    return _object(resource_kinds.NAMESPACE, metadata)


def make_role_bindings(store: Store, *, platform: str) -> tuple[Manifest, ...]:
    return tuple(
        _object(
            resource_kinds.ROLE_BINDING,
            {**_metadata(store), "name": name},
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": platform}],
        )
        for name, role, account in BINDINGS
    )


def make_limits(store: Store, plan: Plan) -> tuple[Manifest, ...]:
    """Quotas and defaults; what runs on and what comes to an end are counted apart, or a set-up would not fit."""
    none = {"services.nodeports": "0", "services.loadbalancers": "0"}
    return (
        _quota(store, "store", plan.quota, "NotTerminating"),
        _quota(store, "jobs", plan.jobs, "Terminating"),
        _quota(store, "objects", {**none, **plan.storage}),
        _object(
            resource_kinds.LIMIT_RANGE,
            {**_metadata(store), "name": "store"},
            spec={
                "limits": [
                    {"type": "Container", **{k: _amounts(v) for k, v in plan.limits.items()}}
                ]
            },
        ),
    )


def make_policies(store: Store, engine: Engine, settings: Settings) -> tuple[Manifest, ...]:
    return make_network_policies(
        _metadata(store),
        platform=settings.platform_namespace,
        ingress=settings.ingress_namespace,
        internet=engine.kubernetes is not None and engine.kubernetes.egress == "internet",
    )


def make_secret(store: Store, name: str, values: Mapping[str, str]) -> Manifest:
    return _object(
        resource_kinds.SECRET,
        {**_metadata(store), "name": name},
        type="Opaque",
        stringData=dict(values),
    )


def make_notes(store: Store, name: str, data: Mapping[str, str]) -> Manifest:
    return _object(resource_kinds.CONFIG_MAP, {**_metadata(store), "name": name}, data=dict(data))


def make_values(
    store: Store, engine: Engine, place: Place, settings: Settings, *, database_image: str = ""
) -> dict[str, Any]:
    """All that the chart is told; secrets by name only. `database_image` is what a running database has."""
    image, plan = (
        f"{settings.image_prefix}{engine.image(store.engine_version)}",
        engine.plan(store.plan),
    )
    planned = plan.values if plan else {}
    return {
        "store": {
            "id": store.id,
            "name": store.name,
            "tenant": store.tenant_id,
            "host": place.host,
            "url": place.url,
        },
        "version": store.engine_version,
        "plan": store.plan or engine.default_plan,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "adminSecret": ADMIN_SECRET,
        "secret": STORE_SECRET,
        "parameters": engine.complete(store.parameters),
        "storageClassName": settings.storage_class,
        "exposure": make_exposure(settings),
        **planned,
        "database": {**planned.get("database", {}), "image": database_image or image},
    }


def _object(kind: Kind, metadata: dict[str, Any], **rest: Any) -> Manifest:
    return {"apiVersion": kind.api, "kind": kind.name, "metadata": metadata, **rest}


def _metadata(store: Store) -> dict[str, Any]:
    return {"namespace": resource_name(store.id), "labels": ownership(store)}


def _quota(store: Store, name: str, hard: Amounts, *scopes: str) -> Manifest:
    spec = {"hard": _amounts(hard)} | ({"scopes": list(scopes)} if scopes else {})
    return _object(resource_kinds.RESOURCE_QUOTA, {**_metadata(store), "name": name}, spec=spec)


def _amounts(amounts: Amounts) -> dict[str, str]:
    """Quantities as the API writes them; YAML makes numbers of some."""
    return {name: str(amount) for name, amount in amounts.items()}
