"""Wait until a store is ready, or until a problem is final.

Used by the steps of all operations. The wait reads the watcher's mirror and sleeps until an object
of the store changes.
"""

import time
from typing import NamedTuple, TypeGuard

from storefleet.core.errors import PermanentError, TransientError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreSubscription, StoreWatcher
from storefleet.runtimes.kubernetes.manifests import StoreLocation
from storefleet.runtimes.kubernetes.pod_logs import PodLogs
from storefleet.runtimes.kubernetes.readiness.diagnosis import diagnose_store, has_unexplained_wait
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    CREATE_TOLERANCE,
    ROLLBACK_TOLERANCE,
    VERSION_CHANGE_TOLERANCE,
    Diagnosis,
    FailureTolerance,
    NotReady,
    ReadinessProblem,
    Ready,
    WarningEvent,
    describe_wait,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import (
    CREATE_LIMITS,
    VERSION_CHANGE_LIMITS,
    GracePeriods,
    WaitLimits,
)
from storefleet.runtimes.kubernetes.readiness.snapshots import PodSnapshot, StoreSnapshot
from storefleet.runtimes.kubernetes.readiness.warning_events import list_warning_events
from storefleet.runtimes.protocol import StepContext, StepResult


class WaitMode(NamedTuple):
    """What a wait tolerates, and what it waits for.

    Attributes:
        tolerance: Sets the grace periods of problems.
        limits: Limits of a wait without a named cause.
        wait_for_current_snapshot: Ignore the mirror until it shows what was written just now.
        wait_for_old_pods: Wait until no pod of a previous revision is left.
        needs_setup: Whether a set-up that fails is a failure of the wait. If not, the store is
            ready when its web pods are.
    """

    tolerance: FailureTolerance = CREATE_TOLERANCE
    limits: WaitLimits = CREATE_LIMITS
    wait_for_current_snapshot: bool = False
    wait_for_old_pods: bool = False
    needs_setup: bool = True


#: A set-up that failed is tolerated if the web pods run without it; they have this time to start.
_WEB_TIMEOUT_S = 60.0

CREATE_MODE = WaitMode()
VERSION_CHANGE_MODE = WaitMode(
    VERSION_CHANGE_TOLERANCE, VERSION_CHANGE_LIMITS, wait_for_current_snapshot=True
)
#: The version has served before, so its web pods need no new set-up.
ROLLBACK_MODE = WaitMode(
    ROLLBACK_TOLERANCE, wait_for_current_snapshot=True, wait_for_old_pods=True, needs_setup=False
)
REQUESTED_ROLLBACK_MODE = VERSION_CHANGE_MODE._replace(needs_setup=False)
#: Waits until the last pod that could write to the database is deleted.
STOP_MODE = WaitMode(wait_for_current_snapshot=True, wait_for_old_pods=True)


class _SetupFailure:
    """Measures how long web pods are waited for after the set-up has failed."""

    def __init__(self, mode: WaitMode) -> None:
        self._mode = mode
        self._failed_at: float | None = None

    @property
    def has_failed(self) -> bool:
        """Whether a failed set-up is tolerated, so that ready web pods are enough."""
        return self._failed_at is not None

    def is_tolerated(self, problem: ReadinessProblem) -> bool:
        """Return whether a final problem is that of the set-up, is not old, and may be ignored."""
        if self._mode.needs_setup or problem.code != "setup_failed":
            return False
        now = time.monotonic()
        if self._failed_at is None:
            self._failed_at = now
        return now - self._failed_at < _WEB_TIMEOUT_S


class ReadinessWaiter:
    """Waits for stores to become ready."""

    def __init__(
        self, *, client: KubernetesClient, watcher: StoreWatcher, pod_logs: PodLogs
    ) -> None:
        self._client = client
        self._watcher = watcher
        self._pod_logs = pod_logs

    async def wait_until_ready(
        self, context: StepContext, location: StoreLocation, mode: WaitMode = CREATE_MODE
    ) -> StepResult:
        """Wait until a store's workloads run as wanted, reporting progress.

        Args:
            context: The step's store and operation.
            location: The store's namespace.
            mode: Tolerances and limits.

        Returns:
            The summary of the ready pods.

        Raises:
            PermanentError: A problem outlasted its grace period; the detail has its cause and,
                where available, a log tail. Or the limit of the wait was reached and is final.
            TransientError: The limit of the wait was reached.
        """
        with self._watcher.subscribe(context.store.id) as subscription:
            periods = GracePeriods(mode.limits)
            generations: dict[str, int] = {}
            setup_failure = _SetupFailure(mode)
            if mode.wait_for_current_snapshot:
                generations = await self._read_generations(context, location)
            while True:
                snapshot = subscription.take_snapshot()
                warnings = await self._read_warnings(location, subscription, snapshot, periods)
                diagnosis = _diagnose_snapshot(snapshot, warnings, mode, generations)
                if subscription.sync_error:
                    periods.exclude_outage()
                    await context.report_progress(
                        f"Waiting for the cluster: {subscription.sync_error}"
                    )
                elif isinstance(diagnosis, Ready):
                    return StepResult(diagnosis.text)
                else:
                    try:
                        if _is_final(diagnosis, periods, subscription):
                            await self._handle_problem(location, diagnosis, setup_failure)
                        await self._record_diagnosis(location, snapshot, periods, diagnosis)
                    except (PermanentError, TransientError) as error:
                        if mode.needs_setup or not _is_web_ready(snapshot, mode):
                            raise
                        return StepResult(f"The store runs. {error.detail}")
                    if setup_failure.has_failed and _is_web_ready(snapshot, mode):
                        return StepResult(f"The store runs. {describe_wait(diagnosis)}")
                    if periods.is_worth_reporting():
                        await context.report_progress(describe_wait(diagnosis))
                await subscription.wait_for_change(1)

    async def _handle_problem(
        self, location: StoreLocation, problem: ReadinessProblem, setup_failure: _SetupFailure
    ) -> None:
        """Raise the error of a final problem, unless it is a tolerated failure of the set-up."""
        if not setup_failure.is_tolerated(problem):
            raise await self._pod_logs.make_problem_error(location.namespace, problem)

    async def find_setup_failure(self, context: StepContext, location: StoreLocation) -> str:
        """Find why the set-up of a store's release has failed; empty if it has not."""
        with self._watcher.subscribe(context.store.id) as subscription:
            await subscription.wait_until_current(_WEB_TIMEOUT_S)
            diagnosis = diagnose_store(subscription.take_snapshot(), (), ROLLBACK_TOLERANCE)
        if not isinstance(diagnosis, ReadinessProblem) or diagnosis.code != "setup_failed":
            return ""
        error = await self._pod_logs.make_problem_error(location.namespace, diagnosis)
        return error.detail

    async def _read_generations(
        self, context: StepContext, location: StoreLocation
    ) -> dict[str, int]:
        """Read the current generations of the store's workloads, by UID.

        Until the mirror shows these, it still shows the state before the last write.
        """
        labels = f"{resource_kinds.STORE_LABEL}={context.store.id}"
        generations = {}
        for kind in resource_kinds.WORKLOAD_KINDS:
            found = await self._client.list_objects(
                kind, namespace=location.namespace, labels=labels, metadata_only=True
            )
            for each in found:
                metadata = each["metadata"]
                generations[metadata["uid"]] = int(metadata.get("generation") or 1)
        return generations

    async def _read_warnings(
        self,
        location: StoreLocation,
        subscription: StoreSubscription,
        snapshot: StoreSnapshot,
        periods: GracePeriods,
    ) -> tuple[WarningEvent, ...]:
        """Read warning events, but only while the snapshot does not explain a wait."""
        if not has_unexplained_wait(snapshot):
            periods.clear_warnings()
        elif periods.start_warning_read() and not subscription.sync_error:
            periods.warnings = await list_warning_events(self._client, location.namespace)
        return periods.warnings

    async def _record_diagnosis(
        self,
        location: StoreLocation,
        snapshot: StoreSnapshot,
        periods: GracePeriods,
        diagnosis: NotReady | ReadinessProblem,
    ) -> None:
        if any(pod.component == "setup" and pod.phase == "Running" for pod in snapshot.pods):
            periods.extend_for_setup()
        try:
            periods.record_diagnosis(diagnosis)
        except PermanentError as error:
            raise await self._add_pod_details(location, snapshot, error) from None

    async def _add_pod_details(
        self, location: StoreLocation, snapshot: StoreSnapshot, error: PermanentError
    ) -> PermanentError:
        """Add the last warning event and the log tail of the unready web pod to a timeout."""
        pod = _find_unready_web_pod(snapshot)
        if pod is None:
            return error
        events = await list_warning_events(self._client, location.namespace)
        own = [event for event in events if event.name == pod.name]
        detail = error.detail
        if own:
            detail += f" {own[-1].reason}: {own[-1].message}."
        if pod.containers:
            tail = await self._pod_logs.read_log_tail(
                location.namespace, pod.name, pod.containers[0].name
            )
            detail += f" Last log lines: {tail}" if tail else ""
        return PermanentError(error.code, detail, next_step=error.next_step)


def _diagnose_snapshot(
    snapshot: StoreSnapshot,
    warnings: tuple[WarningEvent, ...],
    mode: WaitMode,
    generations: dict[str, int],
) -> Diagnosis:
    if mode.wait_for_current_snapshot and not _is_snapshot_current(snapshot, generations):
        return NotReady("the cluster to report the changed objects")
    diagnosis = diagnose_store(snapshot, warnings, mode.tolerance)
    if not mode.wait_for_old_pods or not isinstance(diagnosis, Ready):
        return diagnosis
    stray = snapshot.list_stray_pods()
    return NotReady(f"the deletion of old pods: {', '.join(stray[:5])}") if stray else diagnosis


def _is_snapshot_current(snapshot: StoreSnapshot, generations: dict[str, int]) -> bool:
    """Return whether a snapshot shows these generations or newer ones, and no deleted workload."""
    known = {each.uid: each for each in snapshot.workloads}
    shows_all = all(
        uid in known and known[uid].generation >= generation
        for uid, generation in generations.items()
    )
    return shows_all and all(
        each.uid in generations or each.is_terminating for each in known.values()
    )


def _is_web_ready(snapshot: StoreSnapshot, mode: WaitMode) -> bool:
    """Return whether all but Jobs run as wanted, and no pod of a previous revision is left."""
    running = [each for each in snapshot.workloads if each.kind != resource_kinds.JOB.name]
    has_old_pods = mode.wait_for_old_pods and snapshot.list_stray_pods()
    return not has_old_pods and all(map(snapshot.is_finished, running))


def _is_final(
    diagnosis: NotReady | ReadinessProblem, periods: GracePeriods, subscription: StoreSubscription
) -> TypeGuard[ReadinessProblem]:
    return isinstance(diagnosis, ReadinessProblem) and periods.record_problem(
        diagnosis, restored_at=subscription.restored_at
    )


def _find_unready_web_pod(snapshot: StoreSnapshot) -> PodSnapshot | None:
    for workload in snapshot.workloads:
        if workload.component == "web":
            for pod in snapshot.list_pods(workload):
                if not pod.is_ready:
                    return pod
    return None
