"""Run a store's tasks (dump, restore, orders) as Jobs, from suspended CronJobs of its chart.

A Job is named after its operation, so a worker that takes the operation over finds it. The result
of a task is the termination message of its container.
"""

import json
from collections.abc import Mapping
from typing import Any

from storefleet.core.errors import PermanentError, RuntimeUnavailable, TransientError
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.api.watcher import StoreSubscription, StoreWatcher
from storefleet.runtimes.kubernetes.manifests import StoreLocation
from storefleet.runtimes.kubernetes.pod_logs import PodLogs
from storefleet.runtimes.kubernetes.readiness.diagnosis import diagnose_task, has_unexplained_wait
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    NotReady,
    ReadinessProblem,
    Ready,
    describe_wait,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import GracePeriods, WaitLimits
from storefleet.runtimes.kubernetes.readiness.snapshots import StoreSnapshot
from storefleet.runtimes.kubernetes.readiness.warning_events import list_warning_events
from storefleet.runtimes.protocol import StepContext

_SYNC_TIMEOUT_S = 30.0
_TASK_DEADLINE_S = 300
_WAIT_LIMITS = WaitLimits(timeout_s=_TASK_DEADLINE_S + 60)
#: After this time the cluster deletes a finished Job whose operation was not continued.
_FINISHED_JOB_TTL_S = 900
#: A task exits with status 2 when a retry would fail in the same way.
_POD_FAILURE_POLICY: Manifest = {
    "rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}]
}


class TaskJobs:
    """Creates the Job of a task unless it exists, waits for its result, and deletes it."""

    def __init__(
        self, *, client: KubernetesClient, watcher: StoreWatcher, pod_logs: PodLogs
    ) -> None:
        self._client = client
        self._watcher = watcher
        self._pod_logs = pod_logs

    async def run_task(
        self,
        context: StepContext,
        location: StoreLocation,
        task: str,
        *,
        name: str = "",
        env: Mapping[str, str],
    ) -> dict[str, Any]:
        """Run a task to its end; the Job remains until `delete_job`, so that a retry finds it.

        Args:
            context: The step's store and operation.
            location: The store's namespace.
            task: Name of the CronJob.
            name: Beginning of the Job's name, if one operation runs the task twice; by default
                the name of the task.
            env: Additional environment variables of its container.

        Returns:
            The result of the task, a JSON object.

        Raises:
            PermanentError: The task failed or does not exist; the Job is deleted.
            RuntimeUnavailable: The API server is unavailable.
        """
        job = make_job_name(context, name or task)
        with self._watcher.subscribe(context.store.id) as subscription:
            if not await subscription.wait_until_current(_SYNC_TIMEOUT_S):
                raise subscription.sync_error or RuntimeUnavailable(
                    "The objects of the cluster have not been listed yet."
                )
            await self._ensure_job(context, location, task, job, env)
            try:
                return await self._wait_for_result(context, location, subscription, task, job)
            except PermanentError:
                await self.delete_job(location, job)
                raise

    async def delete_job(self, location: StoreLocation, job: str) -> None:
        """Delete a Job after its result was processed, or because it failed."""
        namespace = location.namespace
        found = await self._client.get(resource_kinds.JOB, job, namespace=namespace)
        if found is not None:
            with effect("delete_task"):
                await self._client.delete(
                    resource_kinds.JOB, job, uid=found["metadata"]["uid"], namespace=namespace
                )

    async def _ensure_job(
        self,
        context: StepContext,
        location: StoreLocation,
        task: str,
        job: str,
        env: Mapping[str, str],
    ) -> None:
        namespace = location.namespace
        if await self._client.get(resource_kinds.JOB, job, namespace=namespace) is not None:
            return
        cron_job = await self._client.get(resource_kinds.CRON_JOB, task, namespace=namespace)
        if cron_job is None:
            raise PermanentError(
                "task_missing",
                f"The chart of this store's version has no task “{task}”: a suspended CronJob of"
                " that name is missing.",
                next_step="Add the tasks to the engine's chart, then retry; see docs/engines.md.",
            )
        await context.check_ownership()
        with effect("create_task"):
            await self._client.create(make_job(context, location, task, job, cron_job, env))

    async def _wait_for_result(
        self,
        context: StepContext,
        location: StoreLocation,
        subscription: StoreSubscription,
        task: str,
        job: str,
    ) -> dict[str, Any]:
        periods = GracePeriods(_WAIT_LIMITS)
        while True:
            snapshot = subscription.take_snapshot()
            if subscription.sync_error:
                periods.exclude_outage()
                await context.report_progress(f"Waiting for the cluster: {subscription.sync_error}")
            else:
                if has_unexplained_wait(snapshot, job) and periods.start_warning_read():
                    periods.warnings = await list_warning_events(self._client, location.namespace)
                diagnosis = diagnose_task(snapshot, job, periods.warnings)
                if isinstance(diagnosis, Ready):
                    return _parse_result(_read_termination_message(snapshot, job), task)
                if isinstance(diagnosis, ReadinessProblem) and periods.record_problem(
                    diagnosis, restored_at=subscription.restored_at
                ):
                    raise await self._pod_logs.make_problem_error(location.namespace, diagnosis)
                _record_diagnosis(periods, diagnosis, task)
                if periods.is_worth_reporting():
                    await context.report_progress(describe_wait(diagnosis))
            await subscription.wait_for_change(1)


def make_job_name(context: StepContext, task: str) -> str:
    """Make the name of a task's Job, which contains the operation's id."""
    return f"{task}-{context.operation_id.rpartition('_')[2].lower()}"


def make_job(
    context: StepContext,
    location: StoreLocation,
    task: str,
    name: str,
    cron_job: Manifest,
    env: Mapping[str, str],
) -> Manifest:
    """Make the Job of a task from the CronJob of the chart.

    Args:
        context: The step's store and operation.
        location: The store's namespace.
        task: Name of the task, for its label.
        name: Name of the Job.
        cron_job: The suspended CronJob; its Job template is used.
        env: Environment variables that replace those of the template.

    Returns:
        The Job, with the store's labels and with deadlines, retries and cleanup limited.
    """
    template = cron_job["spec"]["jobTemplate"]
    spec: Manifest = json.loads(json.dumps(template["spec"]))
    pod = spec["template"]
    labels = {
        **manifests.make_ownership_labels(context.store),
        resource_kinds.COMPONENT_LABEL: "setup",
        resource_kinds.TASK_LABEL: task,
    }
    pod["metadata"] = {**(pod.get("metadata") or {})}
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"].setdefault("activeDeadlineSeconds", _TASK_DEADLINE_S)
    for container in pod["spec"]["containers"]:
        kept = [each for each in container.get("env") or () if each["name"] not in env]
        container["env"] = kept + [{"name": key, "value": value} for key, value in env.items()]
    spec.setdefault("activeDeadlineSeconds", _TASK_DEADLINE_S)
    spec.setdefault("podFailurePolicy", _POD_FAILURE_POLICY)
    spec |= {"backoffLimit": 1, "ttlSecondsAfterFinished": _FINISHED_JOB_TTL_S}
    return {
        "apiVersion": resource_kinds.JOB.api_version,
        "kind": resource_kinds.JOB.name,
        "metadata": {"namespace": location.namespace, "name": name, "labels": labels},
        "spec": spec,
    }


def _read_termination_message(snapshot: StoreSnapshot, job: str) -> str:
    """Return the termination message of the Job's pod that succeeded; empty if it has none."""
    uids = {each.uid for each in snapshot.workloads if each.task and each.name == job}
    for pod in snapshot.pods:
        if pod.owner_uid in uids and pod.phase == "Succeeded":
            for container in pod.containers:
                if container.termination_message:
                    return container.termination_message
    return ""


def _parse_result(message: str, task: str) -> dict[str, Any]:
    try:
        content = json.loads(message)
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    raise PermanentError(
        "task_failed",
        f"The task “{task}” succeeded but returned no JSON object: {message[:200] or 'nothing'}.",
        next_step="Correct the engine's task, then retry.",
    )


def _record_diagnosis(
    periods: GracePeriods, diagnosis: NotReady | ReadinessProblem, task: str
) -> None:
    """Record a diagnosis; the timeout of a task is permanent."""
    try:
        periods.record_diagnosis(diagnosis)
    except TransientError as error:
        raise PermanentError(
            "task_failed",
            f"The task “{task}” did not end in time. {error.detail}",
            next_step=error.next_step,
        ) from None
