"""The ground a store stands on: its namespace, who may act in it, what it may take and reach, and its secrets."""

import asyncio
import secrets
import time
from collections.abc import Iterable

from storefleet.core.errors import PermanentError, Wait
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engine
from storefleet.observability import logs
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.manifests import StoreLocation
from storefleet.runtimes.protocol import StepContext

log = logs.get_logger(__name__)

_ROLE_BINDING_TIMEOUT_S = 10.0
_QUOTA_STATUS_TIMEOUT_S = 20.0


class NamespaceSetup:
    """Lays it, or completes what is there; secrets that an earlier run generated stay as they are."""

    def __init__(self, *, client: KubernetesClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def set_up(self, work: StepContext, engine: Engine, place: StoreLocation) -> None:
        store = work.store
        await self._apply_namespace(work, place)
        await work.check_ownership()
        with effect("bind_roles"):
            for binding in manifests.make_role_bindings(
                store, platform_namespace=self._settings.platform_namespace
            ):
                await self._client.apply(binding)
        await work.check_ownership()
        with effect("apply_rules"):
            await self._apply_policies_and_limits(store, engine)
        await work.check_ownership()
        with effect("create_secrets"):
            await self._create_secrets(store, engine, place)
        await self._wait_for_quota_status(work, place)

    async def _apply_namespace(self, work: StepContext, place: StoreLocation) -> None:
        wanted = manifests.make_namespace(work.store, place)
        found = await self._client.get(resource_kinds.NAMESPACE, place.namespace)
        if found is not None:
            check_namespace_owner(found, work.store)
            if "deletionTimestamp" in found["metadata"]:
                raise Wait(f"The namespace {place.namespace} is still being removed.")
            if _has_wanted_metadata(found, wanted):
                return
        await work.check_ownership()
        with effect("apply_namespace"):
            await self._client.apply(wanted)

    async def _apply_policies_and_limits(self, store: Store, engine: Engine) -> None:
        """All at once; only the first waits until the cluster has heard that we may."""
        plan = engine.plan(store.plan)
        assert plan is not None  # noqa: S101 - every engine that runs here has one
        first, *rest = (
            *manifests.make_store_network_policies(store, engine, self._settings),
            *manifests.make_quotas_and_limits(store, plan),
        )
        await self._apply_once_authorized(first)
        await self._apply_all(rest)

    async def _apply_once_authorized(self, manifest: Manifest) -> None:
        """A role binding counts a moment after it was made."""
        deadline = time.monotonic() + _ROLE_BINDING_TIMEOUT_S
        while True:
            try:
                await self._client.apply(manifest)
            except ApiRequestRejected as refused:
                if refused.code != "cluster_forbids" or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def _apply_all(self, manifests_to_apply: Iterable[Manifest]) -> None:
        ended = await asyncio.gather(
            *(self._client.apply(each) for each in manifests_to_apply), return_exceptions=True
        )
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _create_secrets(self, store: Store, engine: Engine, place: StoreLocation) -> None:
        assert engine.kubernetes is not None  # noqa: S101 - the runtime has looked
        admin = {
            "username": engine.admin.username.format(host=place.host),
            "password": secrets.token_urlsafe(15),
        }
        await self._client.create(manifests.make_secret(store, manifests.ADMIN_SECRET, admin))
        fresh = {name: secrets.token_urlsafe(36) for name in engine.kubernetes.secrets}
        wanted = manifests.make_secret(store, manifests.STORE_SECRET, fresh)
        if not await self._client.create(wanted):
            await self._add_missing_secrets(place, fresh)

    async def _add_missing_secrets(self, place: StoreLocation, generated: dict[str, str]) -> None:
        """A newer version of the engine may want more secrets than there are."""
        found = await self._client.get(
            resource_kinds.SECRET, manifests.STORE_SECRET, namespace=place.namespace
        )
        missing = {
            name: value
            for name, value in generated.items()
            if name not in ((found or {}).get("data") or {})
        }
        if missing:
            change = {"stringData": missing}
            await self._client.patch(
                resource_kinds.SECRET, manifests.STORE_SECRET, change, namespace=place.namespace
            )

    async def _wait_for_quota_status(self, work: StepContext, place: StoreLocation) -> None:
        """Until the quotas have been counted for the first time: before that the cluster refuses everything."""
        deadline, pause = time.monotonic() + _QUOTA_STATUS_TIMEOUT_S, 0.05
        while True:
            quotas = await self._client.list_objects(
                resource_kinds.RESOURCE_QUOTA, namespace=place.namespace
            )
            slow = [each["metadata"]["name"] for each in quotas if not _has_quota_status(each)]
            if not slow:
                return
            if time.monotonic() > deadline:
                raise Wait(f"The cluster has not counted the quotas yet: {', '.join(slow)}.")
            if pause > 0.5:
                await work.report_progress(
                    f"Waiting for the cluster to count the quotas: {', '.join(slow)}"
                )
            await asyncio.sleep(pause)
            pause = min(1, pause * 1.5)


def check_namespace_owner(namespace: Manifest, store: Store) -> None:
    """Raise PermanentError unless it carries our labels for this very store."""
    labels = namespace["metadata"].get("labels") or {}
    if any(
        labels.get(name) != value for name, value in manifests.make_ownership_labels(store).items()
    ):
        raise PermanentError(
            "namespace_foreign",
            f"The namespace {namespace['metadata']['name']} is not this store's: its labels do not say so.",
            next_step="Find out who made it; nothing in it was touched. Remove it by hand or give it its labels back.",
        )


def _has_wanted_metadata(found: Manifest, wanted: Manifest) -> bool:
    """Whether labels and annotations that we want are there already."""
    return all(
        (found["metadata"].get(part) or {}).get(name) == value
        for part in ("labels", "annotations")
        for name, value in wanted["metadata"][part].items()
    )


def _has_quota_status(quota: Manifest) -> bool:
    status = quota.get("status") or {}
    return bool(
        (status.get("hard") or {}).keys() >= quota["spec"]["hard"].keys() and "used" in status
    )
