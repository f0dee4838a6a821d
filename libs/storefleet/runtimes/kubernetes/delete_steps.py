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
from storefleet.runtimes.kubernetes.api.api_errors import Refused
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.exposure import door_of
from storefleet.runtimes.kubernetes.manifests import Place, place_of
from storefleet.runtimes.kubernetes.namespace_setup import check_owner
from storefleet.runtimes.protocol import Outcome, Work
from storefleet.runtimes.storefront_check import Visitor

log = logs.get(__name__)

_GONE_TIMEOUT = 240.0
_LEFT_TIMEOUT = 60.0
_GRACE = 2
_SWEPT = (
    resource_kinds.DEPLOYMENT,
    resource_kinds.STATEFUL_SET,
    resource_kinds.JOB,
    resource_kinds.POD,
    resource_kinds.CLAIM,
)
#: Kinds that belong to no namespace; a store has nothing of them, and the proof says so.
_CLUSTER_WIDE = (
    resource_kinds.NAMESPACE,
    resource_kinds.PERSISTENT_VOLUME,
    resource_kinds.CLUSTER_ROLE,
    resource_kinds.CLUSTER_ROLE_BINDING,
)
_HELD = (
    *("NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure"),
    *(
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ),
)


class Teardown:
    """The steps of one deletion after the other, from whatever a creation has left."""

    def __init__(
        self, *, cluster: Cluster, visitor: Visitor, engines: Engines, settings: Settings
    ) -> None:
        self._cluster = cluster
        self._visitor = visitor
        self._engines = engines
        self._settings = settings

    async def namespace(self, work: Work) -> Outcome:
        place = self._place(work.store)
        found = await self._cluster.get(resource_kinds.NAMESPACE, place.namespace)
        if found is None:
            return Outcome("There is none (any more)")
        check_owner(found, work.store)
        if "deletionTimestamp" not in found["metadata"]:
            await work.check()
            with effect("delete_namespace"):
                await self._cluster.delete(
                    resource_kinds.NAMESPACE, place.namespace, uid=found["metadata"]["uid"]
                )
        await work.check()
        with effect("sweep_namespace"):
            await self._sweep(place)
        return Outcome(f"Namespace {place.namespace} is being removed")

    async def _sweep(self, place: Place) -> None:
        """Take pods and claims away at once, which the cluster does seconds later, and claims only after a pause.

        The namespace is on its way out, so nothing is made again; where we may not do this, it goes more slowly.
        """
        try:
            for kind in _SWEPT:
                await self._cluster.delete_every(kind, namespace=place.namespace, grace=_GRACE)
        except Refused as refused:
            log.info("sweep_refused", namespace=place.namespace, reason=refused.detail)

    async def gone(self, work: Work) -> Outcome:
        """Until the cluster knows the namespace no more; what holds it is said, and nothing is forced."""
        place, began, pause = self._place(work.store), time.monotonic(), 0.25
        while (
            found := await self._cluster.get(resource_kinds.NAMESPACE, place.namespace)
        ) is not None:
            if "deletionTimestamp" not in found["metadata"]:
                raise TransientError(
                    "namespace_back",
                    f"The namespace {place.namespace} is there and not being removed.",
                    next_step="Retry the deletion; if it comes back, find out who makes it.",
                )
            held = holders(found)
            if time.monotonic() - began > _GONE_TIMEOUT:
                raise TransientError(
                    "namespace_stuck",
                    f"The namespace {place.namespace} is still being removed. {held or 'The cluster names no cause.'}",
                    next_step="Mend what holds it (an API service, a volume, a finalizer's owner); it is tried again.",
                )
            await work.say(f"Waiting for the namespace to go. {held}".strip())
            await asyncio.sleep(pause)
            pause = 0.5 if time.monotonic() - began < 20 else 2
        return Outcome("The namespace is gone")

    # the proof ------------------------------------------------------------------------------------------------------

    async def prove(self, work: Work) -> Outcome:
        store, place = work.store, self._place(work.store)
        deadline, pause = time.monotonic() + _LEFT_TIMEOUT, 0.5
        while left := await self._left(store, place):
            if time.monotonic() > deadline:
                raise TransientError(
                    "leftovers",
                    f"Still there: {', '.join(left[:10])}.",
                    next_step="See who holds it; it is tried again.",
                )
            await work.say(f"Waiting for {', '.join(left[:10])} to go")
            await asyncio.sleep(pause)
            pause = min(3, pause * 1.5)
        return Outcome("No namespace, volume, cluster-wide object or answer is left")

    async def _left(self, store: Store, place: Place) -> list[str]:
        left = []
        for kind in _CLUSTER_WIDE:
            labelled = await self._cluster.every(
                kind, labels=f"{resource_kinds.STORE}={store.id}", metadata_only=True
            )
            left += [f"the {kind.name} {each['metadata']['name']}" for each in labelled]
        if await self._cluster.get(resource_kinds.NAMESPACE, place.namespace) is not None:
            left.append(f"the Namespace {place.namespace}")
        async for page in self._cluster.pages(resource_kinds.PERSISTENT_VOLUME):
            left += [f"the PersistentVolume {name}" for name in _claimed(page, place.namespace)]
        if await self._answers(store, place):
            left.append(f"an answer at {place.url}")
        return left

    async def _answers(self, store: Store, place: Place) -> bool:
        """Whether the shop still shows its storefront to people; where nothing leads to stores, nobody can see it."""
        engine, door = self._engines.find(store.engine), door_of(place.url, self._settings)
        if engine is None or door is None:
            return False
        problem = await self._visitor.problem(
            engine.storefront,
            server=door.server,
            host=place.authority,
            request_id=store.id,
            name=None if door.own else place.host,
        )
        return problem is None

    def _place(self, store: Store) -> Place:
        return place_of(store, self._settings)


def holders(namespace: Manifest) -> str:
    """What the cluster says that keeps a namespace from going."""
    conditions = (namespace.get("status") or {}).get("conditions") or ()
    held = [
        f"{each['type']}: {' '.join(str(each.get('message') or '').split())[:300]}"
        for each in conditions
        if each.get("type") in _HELD and each.get("status") == "True"
    ]
    return "; ".join(held)


def _claimed(page: Manifest, namespace: str) -> list[str]:
    return [
        each["metadata"]["name"]
        for each in page["items"] or ()
        if ((each["spec"].get("claimRef") or {}).get("namespace")) == namespace
    ]
