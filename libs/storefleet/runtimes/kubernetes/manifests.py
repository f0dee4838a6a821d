"""Manifests of the objects that exist before a store's Helm release, and the values of the release.

Pure functions from a store to plain objects, tested against golden files. `namespace_setup` applies
the objects; `releases.installer` passes the values to Helm.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from storefleet.core.identifiers import make_resource_name
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.descriptor import Engine
from storefleet.engines.plans import EnginePlan, ResourceAmounts
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest, ResourceKind
from storefleet.runtimes.kubernetes.exposure import make_exposure_values
from storefleet.runtimes.kubernetes.network_policies import make_network_policies

#: What the set-up of a release does: `install` makes everything; `update` migrates the database and
#: changes nothing that an owner can set.
SetupMode = Literal["install", "update"]

ADMIN_SECRET = "store-admin"
STORE_SECRET = "store-secrets"
#: Holds a copy of the mail key alone: the gateway may read it, and none of the other secrets.
MAIL_SECRET = "store-mail"
#: Role bindings of a store's namespace: name, cluster role, service account of the platform. The
#: provisioner's comes first, because it authorizes the provisioner to create the rest.
ROLE_BINDINGS = (
    ("storefleet-operator", "storefleet-store-operator", "provisioner"),
    ("storefleet-gateway", "storefleet-store-reader", "gateway"),
    ("storefleet-reaper", "storefleet-store-sweeper", "reaper"),
)


class StoreLocation(NamedTuple):
    """Where a store is, in the cluster and on the network.

    Attributes:
        namespace: Its namespace.
        host: Its host name.
        url: Its storefront, with a trailing slash.
        authority: Host and port as browsers send them in the `Host` header.
    """

    namespace: str
    host: str
    url: str
    authority: str


def locate_store(store: Store, settings: Settings) -> StoreLocation:
    """Compute a store's namespace, host name and URL."""
    scheme, port = settings.store_scheme, settings.store_public_port
    host = f"{store.name}.{settings.store_domain}"
    is_default_port = port in (0, {"http": 80, "https": 443}[scheme])
    authority = host if is_default_port else f"{host}:{port}"
    return StoreLocation(make_resource_name(store.id), host, f"{scheme}://{authority}/", authority)


def make_ownership_labels(store: Store) -> dict[str, str]:
    """Make the labels that mark an object as the platform's and as this store's."""
    return {
        resource_kinds.MANAGED_BY_LABEL: resource_kinds.FIELD_MANAGER,
        resource_kinds.STORE_LABEL: store.id,
    }


def make_namespace(store: Store, location: StoreLocation) -> Manifest:
    """Make the store's Namespace, which enforces the Pod Security level “restricted”."""
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
    """Make the RoleBindings that give the platform's services their rights in the namespace."""
    return tuple(
        _make_object(
            resource_kinds.ROLE_BINDING,
            {**_make_metadata(store), "name": name},
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": platform_namespace}],
        )
        for name, role, account in ROLE_BINDINGS
    )


def make_quotas_and_limits(store: Store, plan: EnginePlan) -> tuple[Manifest, ...]:
    """Make the ResourceQuotas and the LimitRange of a plan.

    Long-running pods and pods with a deadline have separate quotas: with a common one, the pods of
    the setup Job would not fit beside the store's.
    """
    none = {"services.nodeports": "0", "services.loadbalancers": "0"}
    container_limits = {key: _format_quantities(value) for key, value in plan.limits.items()}
    return (
        _make_quota(store, "store", plan.quota, "NotTerminating"),
        _make_quota(store, "jobs", plan.jobs, "Terminating"),
        _make_quota(store, "objects", {**none, **plan.storage}),
        _make_object(
            resource_kinds.LIMIT_RANGE,
            {**_make_metadata(store), "name": "store"},
            spec={"limits": [{"type": "Container", **container_limits}]},
        ),
    )


def make_store_network_policies(
    store: Store, engine: Engine, settings: Settings
) -> tuple[Manifest, ...]:
    """Make a store's network policies, with the egress that its engine declares."""
    return make_network_policies(
        _make_metadata(store),
        platform_namespace=settings.platform_namespace,
        ingress_namespace=settings.ingress_namespace,
        allow_internet=engine.kubernetes is not None and engine.kubernetes.egress == "internet",
    )


def make_secret(store: Store, name: str, values: Mapping[str, str]) -> Manifest:
    """Make a Secret of the store's namespace."""
    return _make_object(
        resource_kinds.SECRET,
        {**_make_metadata(store), "name": name},
        type="Opaque",
        stringData=dict(values),
    )


def make_config_map(store: Store, name: str, data: Mapping[str, str]) -> Manifest:
    """Make a ConfigMap of the store's namespace."""
    metadata = {**_make_metadata(store), "name": name}
    return _make_object(resource_kinds.CONFIG_MAP, metadata, data=dict(data))


def make_chart_values(
    store: Store,
    engine: Engine,
    location: StoreLocation,
    settings: Settings,
    *,
    database_image: str = "",
    setup_mode: SetupMode = "install",
) -> dict[str, Any]:
    """Make the complete values of a store's Helm release.

    Args:
        store: The store, with the version to install.
        engine: Its engine.
        location: Its namespace and URL.
        settings: The platform's settings.
        database_image: Image of the running database, which an upgrade keeps; empty for a new
            store.
        setup_mode: What the set-up does.

    Returns:
        Values for `helm --values`. They name Secrets but contain none.
    """
    image = f"{settings.image_prefix}{engine.get_image(store.engine_version)}"
    plan = engine.get_plan(store.plan)
    plan_values = plan.values if plan else {}
    if plan and plan.upload_max_bytes is not None:
        plan_values = {"uploadMaxBytes": plan.upload_max_bytes, **plan_values}
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
        "setupMode": setup_mode,
        "adminSecret": ADMIN_SECRET,
        "secret": STORE_SECRET,
        "parameters": engine.add_default_parameters(store.parameters),
        "storageClassName": settings.storage_class,
        "exposure": make_exposure_values(settings),
        **plan_values,
        "database": {**plan_values.get("database", {}), "image": database_image or image},
    }


def accepts_setup_mode(chart: Path) -> bool:
    """Return whether a chart accepts the value `setupMode`, which older charts do not list.

    Args:
        chart: The chart's folder.
    """
    try:
        schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Helm reports an invalid file
        return True
    is_closed = schema.get("additionalProperties") is False
    return not is_closed or "setupMode" in schema.get("properties", {})


def _make_object(kind: ResourceKind, metadata: dict[str, Any], **fields: Any) -> Manifest:
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}


def _make_metadata(store: Store) -> dict[str, Any]:
    return {"namespace": make_resource_name(store.id), "labels": make_ownership_labels(store)}


def _make_quota(store: Store, name: str, hard: ResourceAmounts, *scopes: str) -> Manifest:
    spec = {"hard": _format_quantities(hard)} | ({"scopes": list(scopes)} if scopes else {})
    metadata = {**_make_metadata(store), "name": name}
    return _make_object(resource_kinds.RESOURCE_QUOTA, metadata, spec=spec)


def _format_quantities(quantities: ResourceAmounts) -> dict[str, str]:
    """Format quantities as strings, as the API does; YAML parses some of them as numbers."""
    return {name: str(quantity) for name, quantity in quantities.items()}
