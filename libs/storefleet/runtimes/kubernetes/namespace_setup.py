"""Namespace setup: what exists in a store's namespace before its Helm release.

Creates, or completes, the namespace, role bindings, network policies, quotas, limits and Secrets.
Secrets that a previous attempt generated are kept.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable

from storefleet.core.errors import PermanentError, Wait
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.descriptor import MAIL_KEY, Engine
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.manifests import StoreLocation
from storefleet.runtimes.kubernetes.pod_logs import decode_secret_value
from storefleet.runtimes.protocol import StepContext

_ROLE_BINDING_TIMEOUT_S = 10.0
_QUOTA_STATUS_TIMEOUT_S = 20.0


class NamespaceSetup:
    """Sets up the namespaces of stores."""

    def __init__(self, *, client: KubernetesClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def set_up(self, context: StepContext, engine: Engine, location: StoreLocation) -> None:
        """Set up a store's namespace completely.

        The order matters: the role bindings permit everything after them, and the network policies
        and quotas exist before the first pod can.

        Args:
            context: The step's store and operation.
            engine: Names the generated Secrets, the egress and the plans.
            location: The store's namespace and host.

        Raises:
            PermanentError: The namespace exists but belongs to something else.
            Wait: A namespace of that name is still terminating, or its quotas are not counted yet.
        """
        store = context.store
        await self._apply_namespace(context, location)
        await context.check_ownership()
        with effect("bind_roles"):
            for binding in manifests.make_role_bindings(
                store, platform_namespace=self._settings.platform_namespace
            ):
                await self._client.apply(binding)
        await context.check_ownership()
        with effect("apply_policies"):
            await self._apply_policies_and_limits(store, engine)
        await context.check_ownership()
        with effect("create_secrets"):
            await self._create_secrets(store, engine, location)
        await self._wait_for_quota_status(context, location)

    async def add_missing_secrets(
        self, context: StepContext, engine: Engine, location: StoreLocation
    ) -> None:
        """Generate the secrets that a store's engine declares and its namespace does not have.

        Called before each release of a version change: the store was created before the engine
        declared them. Existing values are kept.

        Args:
            context: The step's store and operation.
            engine: Names the generated secrets.
            location: The store's namespace.
        """
        if await self._list_missing_secrets(engine, location):
            await context.check_ownership()
            with effect("create_secrets"):
                await self._create_secrets(context.store, engine, location)

    async def _list_missing_secrets(self, engine: Engine, location: StoreLocation) -> set[str]:
        assert engine.kubernetes is not None  # noqa: S101 - the installer has checked it
        found = await self._client.get(
            resource_kinds.SECRET, manifests.STORE_SECRET, namespace=location.namespace
        )
        missing = set(engine.kubernetes.secrets) - ((found or {}).get("data") or {}).keys()
        if MAIL_KEY in engine.kubernetes.secrets:
            copied = await self._client.get(
                resource_kinds.SECRET, manifests.MAIL_SECRET, namespace=location.namespace
            )
            missing |= set() if copied else {MAIL_KEY}
        return missing

    async def _apply_namespace(self, context: StepContext, location: StoreLocation) -> None:
        wanted = manifests.make_namespace(context.store, location)
        found = await self._client.get(resource_kinds.NAMESPACE, location.namespace)
        if found is not None:
            check_namespace_owner(found, context.store)
            if "deletionTimestamp" in found["metadata"]:
                raise Wait(f"The namespace {location.namespace} is still terminating.")
            if _has_wanted_metadata(found, wanted):
                return
        await context.check_ownership()
        with effect("apply_namespace"):
            await self._client.apply(wanted)

    async def _apply_policies_and_limits(self, store: Store, engine: Engine) -> None:
        """Apply all in parallel; only the first one waits for the role binding to take effect."""
        plan = engine.get_plan(store.plan)
        assert plan is not None  # noqa: S101 - every engine that runs here has one
        first, *others = (
            *manifests.make_store_network_policies(store, engine, self._settings),
            *manifests.make_quotas_and_limits(store, plan),
        )
        await self._apply_when_permitted(first)
        await self._apply_all(others)

    async def _apply_when_permitted(self, manifest: Manifest) -> None:
        """Apply an object; retry until the new role binding takes effect."""
        deadline = time.monotonic() + _ROLE_BINDING_TIMEOUT_S
        while True:
            try:
                await self._client.apply(manifest)
            except ApiRequestRejected as rejected:
                is_denied = rejected.code == "cluster_permission_denied"
                if not is_denied or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def _apply_all(self, manifests_to_apply: Iterable[Manifest]) -> None:
        """Apply objects in parallel, and raise the first error after all have ended."""
        results = await asyncio.gather(
            *(self._client.apply(each) for each in manifests_to_apply), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _create_secrets(self, store: Store, engine: Engine, location: StoreLocation) -> None:
        assert engine.kubernetes is not None  # noqa: S101 - the installer has checked it
        admin = {
            "username": engine.admin.username.format(host=location.host),
            "password": secrets.token_urlsafe(15),
        }
        await self._client.create(manifests.make_secret(store, manifests.ADMIN_SECRET, admin))
        generated = {name: secrets.token_urlsafe(36) for name in engine.kubernetes.secrets}
        wanted = manifests.make_secret(store, manifests.STORE_SECRET, generated)
        if not await self._client.create(wanted):
            await self._add_missing_secrets(location, generated)
        if MAIL_KEY in generated:
            await self._copy_mail_key(store, location)

    async def _add_missing_secrets(
        self, location: StoreLocation, generated: dict[str, str]
    ) -> None:
        """Add the secrets that a newer version of the engine declares; keep the existing values."""
        namespace = location.namespace
        found = await self._client.get(
            resource_kinds.SECRET, manifests.STORE_SECRET, namespace=namespace
        )
        existing = (found or {}).get("data") or {}
        missing = {name: value for name, value in generated.items() if name not in existing}
        if missing:
            await self._client.patch(
                resource_kinds.SECRET,
                manifests.STORE_SECRET,
                {"stringData": missing},
                namespace=namespace,
            )

    async def _copy_mail_key(self, store: Store, location: StoreLocation) -> None:
        """Copy the mail key to a Secret of its own, so that the gateway can read nothing else."""
        namespace = location.namespace
        found = await self._client.get(
            resource_kinds.SECRET, manifests.STORE_SECRET, namespace=namespace
        )
        values = {MAIL_KEY: decode_secret_value((found or {}).get("data", {}).get(MAIL_KEY, ""))}
        if not await self._client.create(
            manifests.make_secret(store, manifests.MAIL_SECRET, values)
        ):
            await self._client.patch(
                resource_kinds.SECRET,
                manifests.MAIL_SECRET,
                {"stringData": values},
                namespace=namespace,
            )

    async def _wait_for_quota_status(self, context: StepContext, location: StoreLocation) -> None:
        """Wait for the first count of the quotas; until then every pod is rejected."""
        deadline, pause_s = time.monotonic() + _QUOTA_STATUS_TIMEOUT_S, 0.05
        while True:
            quotas = await self._client.list_objects(
                resource_kinds.RESOURCE_QUOTA, namespace=location.namespace
            )
            pending = ", ".join(
                each["metadata"]["name"] for each in quotas if not _has_quota_status(each)
            )
            if not pending:
                return
            if time.monotonic() > deadline:
                raise Wait(f"The cluster has not counted the quotas yet: {pending}.")
            if pause_s > 0.5:
                await context.report_progress(
                    f"Waiting for the cluster to count the quotas: {pending}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(1, pause_s * 1.5)


def check_namespace_owner(namespace: Manifest, store: Store) -> None:
    """Check that a namespace carries the ownership labels of a store.

    Raises:
        PermanentError: It does not; nothing in it may be changed.
    """
    labels = namespace["metadata"].get("labels") or {}
    wanted = manifests.make_ownership_labels(store)
    if any(labels.get(name) != value for name, value in wanted.items()):
        raise PermanentError(
            "namespace_foreign",
            f"The namespace {namespace['metadata']['name']} does not belong to this store: its"
            " labels are missing or different. Nothing in it was changed.",
            next_step="Find out who created it. Delete it by hand, or restore its labels.",
        )


def _has_wanted_metadata(found: Manifest, wanted: Manifest) -> bool:
    """Return whether all wanted labels and annotations are set."""
    for part in ("labels", "annotations"):
        existing = found["metadata"].get(part) or {}
        for name, value in wanted["metadata"][part].items():
            if existing.get(name) != value:
                return False
    return True


def _has_quota_status(quota: Manifest) -> bool:
    status = quota.get("status") or {}
    counted = (status.get("hard") or {}).keys()
    return bool(counted >= quota["spec"]["hard"].keys() and "used" in status)
