"""Waits until a store runs as it is wanted now, or until it is certain that it will not."""

from typing import NamedTuple

from storefleet.core.errors import PermanentError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreSubscription, StoreWatcher
from storefleet.runtimes.kubernetes.manifests import StoreLocation
from storefleet.runtimes.kubernetes.pod_logs import PodLogs
from storefleet.runtimes.kubernetes.readiness import diagnosis, grace_periods
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    Diagnosis,
    NotReady,
    ReadinessProblem,
    Ready,
    WarningEvent,
    diagnose_store,
    has_unexplained_wait,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import GracePeriods, WaitLimits
from storefleet.runtimes.kubernetes.readiness.snapshots import StoreSnapshot
from storefleet.runtimes.kubernetes.readiness.warning_events import list_warning_events
from storefleet.runtimes.protocol import StepContext, StepResult


class WaitMode(NamedTuple):
    """How to wait.

    `fresh`: for what was written just now, which the mirror may not show yet; `tidy`: until nothing of what was before
    is left.
    """

    tolerance: diagnosis.FailureTolerance = diagnosis.CREATE_TOLERANCE
    limits: WaitLimits = grace_periods.CREATE_LIMITS
    wait_for_current_snapshot: bool = False
    wait_for_old_pods: bool = False


CREATE_MODE = WaitMode()
VERSION_CHANGE_MODE = WaitMode(
    diagnosis.VERSION_CHANGE_TOLERANCE,
    grace_periods.VERSION_CHANGE_LIMITS,
    wait_for_current_snapshot=True,
)
ROLLBACK_MODE = WaitMode(
    diagnosis.CREATE_TOLERANCE,
    grace_periods.CREATE_LIMITS,
    wait_for_current_snapshot=True,
    wait_for_old_pods=True,
)
#: Until the last pod has gone that could still write into the database.
STOP_MODE = WaitMode(wait_for_current_snapshot=True, wait_for_old_pods=True)


class ReadinessWaiter:
    """Reads the mirror, and sleeps until something of the store changes."""

    def __init__(
        self, *, client: KubernetesClient, watcher: StoreWatcher, pod_logs: PodLogs
    ) -> None:
        self._client = client
        self._watcher = watcher
        self._pod_logs = pod_logs

    async def wait_until_ready(
        self, work: StepContext, place: StoreLocation, mode: WaitMode = CREATE_MODE
    ) -> StepResult:
        with self._watcher.subscribe(work.store.id) as follow:
            wait = GracePeriods(mode.limits)
            wanted = (
                await self._read_generations(work, place) if mode.wait_for_current_snapshot else {}
            )
            while True:
                seen = follow.take_snapshot()
                verdict = _diagnose_snapshot(
                    seen, await self._read_warnings(place, follow, seen, wait), mode, wanted
                )
                if follow.sync_error:
                    wait.exclude_outage()
                    await work.report_progress(f"Waiting for the cluster: {follow.sync_error}")
                elif isinstance(verdict, Ready):
                    return StepResult(verdict.text)
                elif isinstance(verdict, ReadinessProblem) and wait.has_grace_period_expired(
                    verdict, restored_at=follow.restored_at
                ):
                    raise await self._pod_logs.make_problem_error(place.namespace, verdict)
                else:
                    await self._record_diagnosis(place, seen, wait, verdict)
                    if wait.is_worth_reporting():
                        await work.report_progress(
                            f"Waiting for {verdict.text}"
                            if isinstance(verdict, NotReady)
                            else verdict.cause
                        )
                await follow.wait_for_change(1)

    async def _read_generations(self, work: StepContext, place: StoreLocation) -> dict[str, int]:
        """What there is by now, as generations by UID: before the mirror has caught up with it, it shows what was."""
        labels = f"{resource_kinds.STORE_LABEL}={work.store.id}"
        found = [
            each
            for kind in resource_kinds.WORKLOAD_KINDS
            for each in await self._client.list_objects(
                kind, namespace=place.namespace, labels=labels, metadata_only=True
            )
        ]
        return {
            each["metadata"]["uid"]: int(each["metadata"].get("generation") or 1) for each in found
        }

    async def _read_warnings(
        self,
        place: StoreLocation,
        follow: StoreSubscription,
        seen: StoreSnapshot,
        wait: GracePeriods,
    ) -> tuple[WarningEvent, ...]:
        """Events are read only while something has no pod and says nothing of itself."""
        if not has_unexplained_wait(seen):
            wait.clear_warnings()
        elif wait.should_read_warnings() and not follow.sync_error:
            wait.warnings = await list_warning_events(self._client, place.namespace)
        return wait.warnings

    async def _record_diagnosis(
        self, place: StoreLocation, seen: StoreSnapshot, wait: GracePeriods, verdict: Diagnosis
    ) -> None:
        """Time goes by; when it was too much, what the new pod has to say of itself is told too."""
        if any(pod.component == "setup" and pod.phase == "Running" for pod in seen.pods):
            wait.extend_for_setup()
        try:
            wait.record_diagnosis(verdict)
        except PermanentError as error:
            raise await self._add_pod_details(place, seen, error) from None

    async def _add_pod_details(
        self, place: StoreLocation, seen: StoreSnapshot, error: PermanentError
    ) -> PermanentError:
        web = (
            pod
            for each in seen.workloads
            if each.component == "web"
            for pod in seen.list_pods(each)
            if not pod.is_ready
        )
        pod = next(web, None)
        if pod is None:
            return error
        said = [
            each
            for each in await list_warning_events(self._client, place.namespace)
            if each.name == pod.name
        ]
        why = f" {said[-1].reason}: {said[-1].message}." if said else ""
        last = ""
        for container in pod.containers[:1]:
            last = await self._pod_logs.read_log_tail(place.namespace, pod.name, container.name)
        words = f" Last lines: {last}" if last else ""
        return PermanentError(error.code, f"{error.detail}{why}{words}", next_step=error.next_step)


def _diagnose_snapshot(
    seen: StoreSnapshot,
    warnings: tuple[WarningEvent, ...],
    manner: WaitMode,
    wanted: dict[str, int],
) -> Diagnosis:
    if manner.wait_for_current_snapshot and not _is_snapshot_current(seen, wanted):
        return NotReady("the cluster's news of what was changed")
    verdict = diagnose_store(seen, warnings, manner.tolerance)
    if manner.wait_for_old_pods and isinstance(verdict, Ready) and (left := seen.list_stray_pods()):
        return NotReady(f"what is not wanted any more to go: {', '.join(left[:5])}")
    return verdict


def _is_snapshot_current(seen: StoreSnapshot, wanted: dict[str, int]) -> bool:
    """Whether the mirror shows what is wanted, or something newer, and nothing that has been taken away."""
    known = {each.uid: each for each in seen.workloads}
    there = all(
        uid in known and known[uid].generation >= generation for uid, generation in wanted.items()
    )
    return there and all(each.uid in wanted or each.is_terminating for each in known.values())
