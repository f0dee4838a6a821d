"""The steps that delete a store: delete its namespace, wait for it, verify that nothing is left.

They work from any state that a creation may have left. The namespace is deleted only if its labels
are the store's, and by UID, so that a new namespace of the same name is never deleted.
"""

import asyncio
import time

from storefleet.core.errors import TransientError
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
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
from storefleet.runtimes.storefront_check import StorefrontCheck

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
#: Cluster-scoped kinds that the deletion of a namespace does not cover. Stores own none of them;
#: the verification checks that.
_CLUSTER_SCOPED_KINDS = (
    resource_kinds.NAMESPACE,
    resource_kinds.PERSISTENT_VOLUME,
    resource_kinds.CLUSTER_ROLE,
    resource_kinds.CLUSTER_ROLE_BINDING,
)
_BLOCKING_CONDITIONS = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
)


class DeleteSteps:
    """The steps of delete operations, for all stores of a process."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        storefront_check: StorefrontCheck,
        engines: EngineCatalogue,
        settings: Settings,
    ) -> None:
        self._client = client
        self._storefront_check = storefront_check
        self._engines = engines
        self._settings = settings

    async def delete_namespace(self, context: StepContext) -> StepResult:
        """Delete the store's namespace and speed up the deletion of its content.

        Raises:
            PermanentError: The namespace belongs to something else.
        """
        location = self._locate_store(context.store)
        found = await self._client.get(resource_kinds.NAMESPACE, location.namespace)
        if found is None:
            return StepResult("The namespace does not exist")
        check_namespace_owner(found, context.store)
        if "deletionTimestamp" not in found["metadata"]:
            await context.check_ownership()
            with effect("delete_namespace"):
                await self._client.delete(
                    resource_kinds.NAMESPACE, location.namespace, uid=found["metadata"]["uid"]
                )
        await context.check_ownership()
        with effect("delete_contents"):
            await self._delete_contents(location)
        return StepResult(f"Namespace {location.namespace} is being deleted")

    async def _delete_contents(self, location: StoreLocation) -> None:
        """Delete pods and volume claims at once.

        The cluster itself does so seconds later, and deletes claims only after a pause. Since the
        namespace is terminating, nothing is recreated. Without the permission the deletion is
        slower.
        """
        try:
            for kind in _KINDS_DELETED_FIRST:
                await self._client.delete_collection(
                    kind, namespace=location.namespace, grace_period_s=_POD_GRACE_PERIOD_S
                )
        except ApiRequestRejected as rejected:
            log.info(
                "content_deletion_rejected", namespace=location.namespace, reason=rejected.detail
            )

    async def wait_until_deleted(self, context: StepContext) -> StepResult:
        """Wait until the namespace is gone; report what blocks its deletion, and force nothing.

        Raises:
            TransientError: The namespace is not being deleted, or still terminating after 240 s.
        """
        location = self._locate_store(context.store)
        started_at, pause_s = time.monotonic(), 0.25
        while found := await self._client.get(resource_kinds.NAMESPACE, location.namespace):
            if "deletionTimestamp" not in found["metadata"]:
                raise TransientError(
                    "namespace_recreated",
                    f"The namespace {location.namespace} exists again and is not being deleted:"
                    " something else has created it.",
                    next_step="Retry the deletion. If it fails again, find out who creates the"
                    " namespace.",
                )
            blockers = describe_deletion_blockers(found)
            if time.monotonic() - started_at > _NAMESPACE_TIMEOUT_S:
                raise TransientError(
                    "namespace_stuck",
                    f"The namespace {location.namespace} is still terminating."
                    f" {blockers or 'The cluster reports no cause.'}",
                    next_step="Remove what blocks the deletion (an unavailable API service, a"
                    " volume, a finalizer); the operation retries automatically.",
                )
            await context.report_progress(
                f"Waiting for the deletion of the namespace. {blockers}".strip()
            )
            await asyncio.sleep(pause_s)
            pause_s = 0.5 if time.monotonic() - started_at < 20 else 2
        return StepResult("The namespace is deleted")

    async def verify_deletion(self, context: StepContext) -> StepResult:
        """Verify that no object of the store exists and that its storefront is not served.

        Raises:
            TransientError: Something is left after 60 s.
        """
        store, location = context.store, self._locate_store(context.store)
        deadline, pause_s = time.monotonic() + _LEFTOVERS_TIMEOUT_S, 0.5
        while leftovers := await self._list_leftovers(store, location):
            names = ", ".join(leftovers[:10])
            if time.monotonic() > deadline:
                raise TransientError(
                    "leftovers",
                    f"Objects of the store still exist: {names}.",
                    next_step="Find out what keeps them; the operation retries automatically.",
                )
            await context.report_progress(f"Waiting for the deletion of {names}")
            await asyncio.sleep(pause_s)
            pause_s = min(3, pause_s * 1.5)
        return StepResult("No namespace, volume, cluster-scoped object or storefront is left")

    async def _list_leftovers(self, store: Store, location: StoreLocation) -> list[str]:
        leftovers = []
        for kind in _CLUSTER_SCOPED_KINDS:
            labelled = await self._client.list_objects(
                kind, labels=f"{resource_kinds.STORE_LABEL}={store.id}", metadata_only=True
            )
            leftovers += [f"the {kind.name} {each['metadata']['name']}" for each in labelled]
        if await self._client.get(resource_kinds.NAMESPACE, location.namespace) is not None:
            leftovers.append(f"the Namespace {location.namespace}")
        async for page in self._client.list_pages(resource_kinds.PERSISTENT_VOLUME):
            volumes = _list_claimed_volumes(page, location.namespace)
            leftovers += [f"the PersistentVolume {name}" for name in volumes]
        if await self._is_storefront_served(store, location):
            leftovers.append(f"the storefront at {location.url}")
        return leftovers

    async def _is_storefront_served(self, store: Store, location: StoreLocation) -> bool:
        """Return whether any check still passes; False where stores are not exposed."""
        engine = self._engines.find(store.engine)
        entrypoint = find_entrypoint(location.url, self._settings)
        if engine is None or entrypoint is None:
            return False
        for page in (*engine.checks.healthy, *engine.checks.installed):
            problem = await self._storefront_check.find_problem(
                page,
                server=entrypoint.server,
                host=location.authority,
                request_id=store.id,
                tls_server_name=None if entrypoint.is_own_address else location.host,
            )
            if problem is None:
                return True
        return False

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)


def describe_deletion_blockers(namespace: Manifest) -> str:
    """Describe what blocks the deletion of a namespace, from its conditions; may be empty."""
    conditions = (namespace.get("status") or {}).get("conditions") or ()
    blockers = [
        f"{each['type']}: {' '.join(str(each.get('message') or '').split())[:300]}"
        for each in conditions
        if each.get("type") in _BLOCKING_CONDITIONS and each.get("status") == "True"
    ]
    return "; ".join(blockers)


def _list_claimed_volumes(page: Manifest, namespace: str) -> list[str]:
    return [
        each["metadata"]["name"]
        for each in page["items"] or ()
        if ((each["spec"].get("claimRef") or {}).get("namespace")) == namespace
    ]
