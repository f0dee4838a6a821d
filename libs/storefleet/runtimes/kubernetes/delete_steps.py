"""Takes a store away: its namespace, guarded by UID and labels; then the proof that nothing is left of it."""

import asyncio
import time

from storefleet.core.errors import TransientError
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engines
from storefleet.observability import logs
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.exposure import find_entrypoint
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.namespace_setup import check_namespace_owner
from storefleet.runtimes.protocol import StepContext, StepResult
from storefleet.runtimes.storefront_check import Visitor

log = logs.get_logger(__name__)

_NAMESPACE_TIMEOUT_S = 240.0
_LEFTOVERS_TIMEOUT_S = 60.0
_POD_GRACE_PERIOD_S = 2
_KINDS_DELETED_FIRST = (
    resource_kinds.DEPLOYMENT,
    resource_kinds.STATEFUL_SET,
    resource_kinds.JOB,
    resource_kinds.POD,
    resource_kinds.PERSISTENT_VOLUME_CLAIM,
)
#: Kinds that belong to no namespace; a store has nothing of them, and the proof says so.
_CLUSTER_SCOPED_KINDS = (
    resource_kinds.NAMESPACE,
    resource_kinds.PERSISTENT_VOLUME,
    resource_kinds.CLUSTER_ROLE,
    resource_kinds.CLUSTER_ROLE_BINDING,
)
_BLOCKING_CONDITIONS = (
    *("NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure"),
    *(
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ),
)


class DeleteSteps:
    """The steps of one deletion after the other, from whatever a creation has left."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        storefront_check: Visitor,
        engines: Engines,
        settings: Settings,
    ) -> None:
        self._client = client
        self._storefront_check = storefront_check
        self._engines = engines
        self._settings = settings

    async def delete_namespace(self, work: StepContext) -> StepResult:
        place = self._locate_store(work.store)
        found = await self._client.get(resource_kinds.NAMESPACE, place.namespace)
        if found is None:
            return StepResult("There is none (any more)")
        check_namespace_owner(found, work.store)
        if "deletionTimestamp" not in found["metadata"]:
            await work.check_ownership()
            with effect("delete_namespace"):
                await self._client.delete(
                    resource_kinds.NAMESPACE, place.namespace, uid=found["metadata"]["uid"]
                )
        await work.check_ownership()
        with effect("sweep_namespace"):
            await self._delete_contents(place)
        return StepResult(f"Namespace {place.namespace} is being removed")

    async def _delete_contents(self, place: StoreLocation) -> None:
        """Take pods and claims away at once, which the cluster does seconds later, and claims only after a pause.

        The namespace is on its way out, so nothing is made again; where we may not do this, it goes more slowly.
        """
        try:
            for kind in _KINDS_DELETED_FIRST:
                await self._client.delete_collection(
                    kind, namespace=place.namespace, grace_period_s=_POD_GRACE_PERIOD_S
                )
        except ApiRequestRejected as refused:
            log.info("sweep_refused", namespace=place.namespace, reason=refused.detail)

    async def wait_until_deleted(self, work: StepContext) -> StepResult:
        """Until the cluster knows the namespace no more; what holds it is said, and nothing is forced."""
        place, began, pause = self._locate_store(work.store), time.monotonic(), 0.25
        while (
            found := await self._client.get(resource_kinds.NAMESPACE, place.namespace)
        ) is not None:
            if "deletionTimestamp" not in found["metadata"]:
                raise TransientError(
                    "namespace_back",
                    f"The namespace {place.namespace} is there and not being removed.",
                    next_step="Retry the deletion; if it comes back, find out who makes it.",
                )
            held = describe_deletion_blockers(found)
            if time.monotonic() - began > _NAMESPACE_TIMEOUT_S:
                raise TransientError(
                    "namespace_stuck",
                    f"The namespace {place.namespace} is still being removed. {held or 'The cluster names no cause.'}",
                    next_step="Mend what holds it (an API service, a volume, a finalizer's owner); it is tried again.",
                )
            await work.report_progress(f"Waiting for the namespace to go. {held}".strip())
            await asyncio.sleep(pause)
            pause = 0.5 if time.monotonic() - began < 20 else 2
        return StepResult("The namespace is gone")

    # the proof ------------------------------------------------------------------------------------------------------

    async def verify_deletion(self, work: StepContext) -> StepResult:
        store, place = work.store, self._locate_store(work.store)
        deadline, pause = time.monotonic() + _LEFTOVERS_TIMEOUT_S, 0.5
        while left := await self._list_leftovers(store, place):
            if time.monotonic() > deadline:
                raise TransientError(
                    "leftovers",
                    f"Still there: {', '.join(left[:10])}.",
                    next_step="See who holds it; it is tried again.",
                )
            await work.report_progress(f"Waiting for {', '.join(left[:10])} to go")
            await asyncio.sleep(pause)
            pause = min(3, pause * 1.5)
        return StepResult("No namespace, volume, cluster-wide object or answer is left")

    async def _list_leftovers(self, store: Store, place: StoreLocation) -> list[str]:
        left = []
        for kind in _CLUSTER_SCOPED_KINDS:
            labelled = await self._client.list_objects(
                kind, labels=f"{resource_kinds.STORE_LABEL}={store.id}", metadata_only=True
            )
            left += [f"the {kind.name} {each['metadata']['name']}" for each in labelled]
        if await self._client.get(resource_kinds.NAMESPACE, place.namespace) is not None:
            left.append(f"the Namespace {place.namespace}")
        async for page in self._client.list_pages(resource_kinds.PERSISTENT_VOLUME):
            left += [
                f"the PersistentVolume {name}"
                for name in _list_claimed_volumes(page, place.namespace)
            ]
        if await self._is_storefront_served(store, place):
            left.append(f"an answer at {place.url}")
        return left

    async def _is_storefront_served(self, store: Store, place: StoreLocation) -> bool:
        """Whether the shop still shows its storefront to people; where nothing leads to stores, nobody can see it."""
        engine, door = self._engines.find(store.engine), find_entrypoint(place.url, self._settings)
        if engine is None or door is None:
            return False
        problem = await self._storefront_check.problem(
            engine.storefront,
            server=door.server,
            host=place.authority,
            request_id=store.id,
            name=None if door.is_own_address else place.host,
        )
        return problem is None

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)


def describe_deletion_blockers(namespace: Manifest) -> str:
    """What the cluster says that keeps a namespace from going."""
    conditions = (namespace.get("status") or {}).get("conditions") or ()
    held = [
        f"{each['type']}: {' '.join(str(each.get('message') or '').split())[:300]}"
        for each in conditions
        if each.get("type") in _BLOCKING_CONDITIONS and each.get("status") == "True"
    ]
    return "; ".join(held)


def _list_claimed_volumes(page: Manifest, namespace: str) -> list[str]:
    return [
        each["metadata"]["name"]
        for each in page["items"] or ()
        if ((each["spec"].get("claimRef") or {}).get("namespace")) == namespace
    ]
