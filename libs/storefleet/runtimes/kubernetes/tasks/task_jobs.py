"""Runs a store's tasks (dump, restore, orders) as Jobs made from the suspended CronJobs of its chart.

A Job is named by the operation that needs it, so whoever goes on with the operation finds it; its answer is the
termination message of its container.
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
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    NotReady,
    ReadinessProblem,
    Ready,
    diagnose_task,
    has_unexplained_wait,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import GracePeriods, WaitLimits
from storefleet.runtimes.kubernetes.readiness.snapshots import StoreSnapshot
from storefleet.runtimes.kubernetes.readiness.warning_events import list_warning_events
from storefleet.runtimes.protocol import StepContext

_SYNC_TIMEOUT_S = 30.0
_TASK_DEADLINE_S = 300
_WAIT_LIMITS = WaitLimits(timeout_s=_TASK_DEADLINE_S + 60)
_FINISHED_JOB_TTL_S = 900  # by the cluster itself, should nobody come back for it


class TaskJobs:
    """Makes the Job unless it is there, waits for its end, and takes it away when its answer is dealt with."""

    def __init__(
        self, *, client: KubernetesClient, watcher: StoreWatcher, pod_logs: PodLogs
    ) -> None:
        self._client = client
        self._watcher = watcher
        self._pod_logs = pod_logs

    async def run_task(
        self,
        work: StepContext,
        place: StoreLocation,
        task: str,
        *,
        name: str = "",
        env: Mapping[str, str],
    ) -> dict[str, Any]:
        """What the task has answered; PermanentError when it failed, and the Job is gone then."""
        job = make_job_name(work, name or task)
        with self._watcher.subscribe(work.store.id) as follow:
            if not await follow.wait_until_current(_SYNC_TIMEOUT_S):
                raise follow.sync_error or RuntimeUnavailable(
                    "The cluster has not been looked at yet."
                )
            await self._ensure_job(work, place, task, job, env)
            try:
                return await self._wait_for_result(work, place, follow, task, job)
            except PermanentError:
                await self.delete_job(place, job)
                raise

    async def delete_job(self, place: StoreLocation, job: str) -> None:
        """Its answer is dealt with, or will not come."""
        found = await self._client.get(resource_kinds.JOB, job, namespace=place.namespace)
        if found is not None:
            with effect("remove_task"):
                await self._client.delete(
                    resource_kinds.JOB, job, uid=found["metadata"]["uid"], namespace=place.namespace
                )

    async def _ensure_job(
        self, work: StepContext, place: StoreLocation, task: str, job: str, env: Mapping[str, str]
    ) -> None:
        if await self._client.get(resource_kinds.JOB, job, namespace=place.namespace) is not None:
            return
        pattern = await self._client.get(resource_kinds.CRON_JOB, task, namespace=place.namespace)
        if pattern is None:
            raise PermanentError(
                "task_missing",
                f"The chart of this store's version has no task “{task}” (a suspended CronJob of that name).",
                next_step="Give the engine's chart its tasks, then retry; see docs/engines.md.",
            )
        await work.check_ownership()
        with effect("make_task"):
            await self._client.create(make_job(work, place, task, job, pattern, env))

    async def _wait_for_result(
        self,
        work: StepContext,
        place: StoreLocation,
        follow: StoreSubscription,
        task: str,
        job: str,
    ) -> dict[str, Any]:
        wait = GracePeriods(_WAIT_LIMITS)
        while True:
            seen = follow.take_snapshot()
            if follow.sync_error:
                wait.exclude_outage()
                await work.report_progress(f"Waiting for the cluster: {follow.sync_error}")
            else:
                if has_unexplained_wait(seen, job) and wait.should_read_warnings():
                    wait.warnings = await list_warning_events(self._client, place.namespace)
                verdict = diagnose_task(seen, job, wait.warnings)
                if isinstance(verdict, Ready):
                    return _parse_result(_read_termination_message(seen, job), task)
                if isinstance(verdict, ReadinessProblem) and wait.has_grace_period_expired(
                    verdict, restored_at=follow.restored_at
                ):
                    raise await self._pod_logs.make_problem_error(place.namespace, verdict)
                _record_diagnosis(wait, verdict, task)
                if wait.is_worth_reporting():
                    await work.report_progress(
                        f"Waiting for {verdict.text}"
                        if isinstance(verdict, NotReady)
                        else verdict.cause
                    )
            await follow.wait_for_change(1)


def make_job_name(work: StepContext, task: str) -> str:
    return f"{task}-{work.operation_id.rpartition('_')[2].lower()}"


def make_job(
    work: StepContext,
    place: StoreLocation,
    task: str,
    name: str,
    cron_job: Manifest,
    env: Mapping[str, str],
) -> Manifest:
    """The CronJob's Job, as this operation needs it: its name, its store's labels, what it is told, and its limits."""
    template = cron_job["spec"]["jobTemplate"]
    spec: Manifest = json.loads(json.dumps(template["spec"]))
    pod = spec["template"]
    labels = {
        **manifests.make_ownership_labels(work.store),
        resource_kinds.COMPONENT_LABEL: "setup",
        resource_kinds.TASK_LABEL: task,
    }
    pod["metadata"] = {**(pod.get("metadata") or {})}
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"].setdefault("activeDeadlineSeconds", _TASK_DEADLINE_S)
    for container in pod["spec"]["containers"]:
        kept = [each for each in container.get("env") or () if each["name"] not in env]
        container["env"] = kept + [{"name": name, "value": value} for name, value in env.items()]
    spec.setdefault("activeDeadlineSeconds", _TASK_DEADLINE_S)
    spec.setdefault("podFailurePolicy", _POD_FAILURE_POLICY)
    spec |= {"backoffLimit": 1, "ttlSecondsAfterFinished": _FINISHED_JOB_TTL_S}
    metadata = {"namespace": place.namespace, "name": name, "labels": labels}
    return {
        "apiVersion": resource_kinds.JOB.api_version,
        "kind": resource_kinds.JOB.name,
        "metadata": metadata,
        "spec": spec,
    }


#: The program's word that another try would end the same.
_POD_FAILURE_POLICY: Manifest = {
    "rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}]
}


def _read_termination_message(seen: StoreSnapshot, job: str) -> str:
    """The termination message of the pod that succeeded."""
    uids = {each.uid for each in seen.workloads if each.task and each.name == job}
    pods = [pod for pod in seen.pods if pod.owner_uid in uids and pod.phase == "Succeeded"]
    return next(
        (
            each.termination_message
            for pod in pods
            for each in pod.containers
            if each.termination_message
        ),
        "",
    )


def _parse_result(answer: str, task: str) -> dict[str, Any]:
    try:
        content = json.loads(answer)
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    raise PermanentError(
        "task_failed",
        f"The task “{task}” came to its end and left no answer that can be read: {answer[:200] or 'nothing'}.",
        next_step="Correct the engine's task, then retry.",
    )


def _record_diagnosis(wait: GracePeriods, verdict: NotReady | ReadinessProblem, task: str) -> None:
    try:
        wait.record_diagnosis(verdict)
    except TransientError as error:
        raise PermanentError(
            "task_failed", f"The task “{task}”: {error.detail}", next_step=error.next_step
        ) from None
