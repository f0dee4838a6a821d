"""What a store's namespace holds before its chart comes: pure functions from a store to objects."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from storefleet.core.identifiers import make_resource_name
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Amounts, Engine, Plan
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest, ResourceKind
from storefleet.runtimes.kubernetes.exposure import make_exposure_values
from storefleet.runtimes.kubernetes.network_policies import make_network_policies

ADMIN_SECRET = "store-admin"
STORE_SECRET = "store-secrets"
#: Who may do what in the namespace: role binding, cluster role, service account of the platform. The first one comes
#: first, since it is what lets the provisioner make the rest.
ROLE_BINDINGS = (
    ("storefleet-operator", "storefleet-store-operator", "provisioner"),
    ("storefleet-gateway", "storefleet-store-reader", "gateway"),
    ("storefleet-reaper", "storefleet-store-sweeper", "reaper"),
)


class StoreLocation(NamedTuple):
    """Where a store is, in the cluster and for people."""

    namespace: str
    host: str
    url: str
    authority: str  # the host as browsers send it


def locate_store(store: Store, settings: Settings) -> StoreLocation:
    scheme, port = settings.store_scheme, settings.store_public_port
    host = f"{store.name}.{settings.store_domain}"
    usual = port in (0, {"http": 80, "https": 443}[scheme])
    authority = host if usual else f"{host}:{port}"
    return StoreLocation(make_resource_name(store.id), host, f"{scheme}://{authority}/", authority)


def make_ownership_labels(store: Store) -> dict[str, str]:
    """Labels that say whose an object is."""
    return {
        resource_kinds.MANAGED_BY_LABEL: resource_kinds.FIELD_MANAGER,
        resource_kinds.STORE_LABEL: store.id,
    }


def make_namespace(store: Store, location: StoreLocation) -> Manifest:
    labels = {
        **make_ownership_labels(store),
        resource_kinds.TENANT_LABEL: store.tenant_id,
        resource_kinds.ENGINE_LABEL: store.engine,
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    metadata = {
        "name": location.namespace,
        "labels": labels,
        "annotations": {resource_kinds.HOST_ANNOTATION: location.host},
    }
    return _make_object(resource_kinds.NAMESPACE, metadata)


def make_role_bindings(store: Store, *, platform_namespace: str) -> tuple[Manifest, ...]:
    return tuple(
        _make_object(
            resource_kinds.ROLE_BINDING,
            {**_make_metadata(store), "name": name},
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": platform_namespace}],
        )
        for name, role, account in ROLE_BINDINGS
    )


def make_quotas_and_limits(store: Store, plan: Plan) -> tuple[Manifest, ...]:
    """Quotas and defaults; what runs on and what comes to an end are counted apart, or a set-up would not fit."""
    none = {"services.nodeports": "0", "services.loadbalancers": "0"}
    return (
        _make_quota(store, "store", plan.quota, "NotTerminating"),
        _make_quota(store, "jobs", plan.jobs, "Terminating"),
        _make_quota(store, "objects", {**none, **plan.storage}),
        _make_object(
            resource_kinds.LIMIT_RANGE,
            {**_make_metadata(store), "name": "store"},
            spec={
                "limits": [
                    {
                        "type": "Container",
                        **{k: _format_quantities(v) for k, v in plan.limits.items()},
                    }
                ]
            },
        ),
    )


def make_store_network_policies(
    store: Store, engine: Engine, settings: Settings
) -> tuple[Manifest, ...]:
    return make_network_policies(
        _make_metadata(store),
        platform_namespace=settings.platform_namespace,
        ingress_namespace=settings.ingress_namespace,
        allow_internet=engine.kubernetes is not None and engine.kubernetes.egress == "internet",
    )


def make_secret(store: Store, name: str, values: Mapping[str, str]) -> Manifest:
    return _make_object(
        resource_kinds.SECRET,
        {**_make_metadata(store), "name": name},
        type="Opaque",
        stringData=dict(values),
    )


def make_config_map(store: Store, name: str, data: Mapping[str, str]) -> Manifest:
    return _make_object(
        resource_kinds.CONFIG_MAP, {**_make_metadata(store), "name": name}, data=dict(data)
    )


def make_chart_values(
    store: Store,
    engine: Engine,
    location: StoreLocation,
    settings: Settings,
    *,
    database_image: str = "",
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
            "host": location.host,
            "url": location.url,
        },
        "version": store.engine_version,
        "plan": store.plan or engine.default_plan,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "adminSecret": ADMIN_SECRET,
        "secret": STORE_SECRET,
        "parameters": engine.complete(store.parameters),
        "storageClassName": settings.storage_class,
        "exposure": make_exposure_values(settings),
        **planned,
        "database": {**planned.get("database", {}), "image": database_image or image},
    }


def _make_object(kind: ResourceKind, metadata: dict[str, Any], **rest: Any) -> Manifest:
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **rest}


def _make_metadata(store: Store) -> dict[str, Any]:
    return {"namespace": make_resource_name(store.id), "labels": make_ownership_labels(store)}


def _make_quota(store: Store, name: str, hard: Amounts, *scopes: str) -> Manifest:
    spec = {"hard": _format_quantities(hard)} | ({"scopes": list(scopes)} if scopes else {})
    return _make_object(
        resource_kinds.RESOURCE_QUOTA, {**_make_metadata(store), "name": name}, spec=spec
    )


def _format_quantities(quantities: Amounts) -> dict[str, str]:
    """Quantities as the API writes them; YAML makes numbers of some."""
    return {name: str(amount) for name, amount in quantities.items()}
