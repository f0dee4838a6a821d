"""Runs a store's tasks (dump, restore, orders) as Jobs made from the suspended CronJobs of its chart.

A Job is named by the operation that needs it, so whoever goes on with the operation finds it; its answer is the
termination message of its container.
"""

import json
from collections.abc import Mapping
from typing import Any

from storefleet.core.errors import PermanentError, RuntimeAway, TransientError
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.api.watcher import Follow, Watching
from storefleet.runtimes.kubernetes.manifests import Place
from storefleet.runtimes.kubernetes.pod_logs import Lines
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    Ready,
    Trouble,
    Waiting,
    judge_task,
    missing_pods,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import Limits, Patience
from storefleet.runtimes.kubernetes.readiness.snapshots import Seen
from storefleet.runtimes.kubernetes.readiness.warning_events import warned_of
from storefleet.runtimes.protocol import Work

_CURRENT = 30.0
_DEADLINE = 300
_LIMITS = Limits(longest=_DEADLINE + 60)
_KEPT_FOR = 900  # by the cluster itself, should nobody come back for it


class Tasks:
    """Makes the Job unless it is there, waits for its end, and takes it away when its answer is dealt with."""

    def __init__(self, *, cluster: Cluster, watching: Watching, lines: Lines) -> None:
        self._cluster = cluster
        self._watching = watching
        self._lines = lines

    async def run(
        self, work: Work, place: Place, task: str, *, name: str = "", env: Mapping[str, str]
    ) -> dict[str, Any]:
        """What the task has answered; PermanentError when it failed, and the Job is gone then."""
        job = job_name(work, name or task)
        with self._watching.following(work.store.id) as follow:
            if not await follow.current(_CURRENT):
                raise follow.trouble or RuntimeAway("The cluster has not been looked at yet.")
            await self._made(work, place, task, job, env)
            try:
                return await self._answer(work, place, follow, task, job)
            except PermanentError:
                await self.remove(place, job)
                raise

    async def remove(self, place: Place, job: str) -> None:
        """Its answer is dealt with, or will not come."""
        found = await self._cluster.get(resource_kinds.JOB, job, namespace=place.namespace)
        if found is not None:
            with effect("remove_task"):
                await self._cluster.delete(
                    resource_kinds.JOB, job, uid=found["metadata"]["uid"], namespace=place.namespace
                )

    async def _made(
        self, work: Work, place: Place, task: str, job: str, env: Mapping[str, str]
    ) -> None:
        if await self._cluster.get(resource_kinds.JOB, job, namespace=place.namespace) is not None:
            return
        pattern = await self._cluster.get(resource_kinds.CRON_JOB, task, namespace=place.namespace)
        if pattern is None:
            raise PermanentError(
                "task_missing",
                f"The chart of this store's version has no task “{task}” (a suspended CronJob of that name).",
                next_step="Give the engine's chart its tasks, then retry; see docs/engines.md.",
            )
        await work.check()
        with effect("make_task"):
            await self._cluster.create(make_job(work, place, task, job, pattern, env))

    async def _answer(
        self, work: Work, place: Place, follow: Follow, task: str, job: str
    ) -> dict[str, Any]:
        wait = Patience(_LIMITS)
        while True:
            seen = follow.seen()
            if follow.trouble:
                wait.pause()
                await work.say(f"Waiting for the cluster: {follow.trouble}")
            else:
                if missing_pods(seen, job) and wait.wants_warnings():
                    wait.warnings = await warned_of(self._cluster, place.namespace)
                verdict = judge_task(seen, job, wait.warnings)
                if isinstance(verdict, Ready):
                    return _read(_said(seen, job), task)
                if isinstance(verdict, Trouble) and wait.is_certain(
                    verdict, restored=follow.restored
                ):
                    raise await self._lines.explained(place.namespace, verdict)
                _note(wait, verdict, task)
                if wait.is_steady():
                    await work.say(
                        f"Waiting for {verdict.text}"
                        if isinstance(verdict, Waiting)
                        else verdict.cause
                    )
            await follow.changed(1)


def job_name(work: Work, task: str) -> str:
    return f"{task}-{work.operation_id.rpartition('_')[2].lower()}"


def make_job(
    work: Work, place: Place, task: str, name: str, pattern: Manifest, env: Mapping[str, str]
) -> Manifest:
    """The CronJob's Job, as this operation needs it: its name, its store's labels, what it is told, and its limits."""
    template = pattern["spec"]["jobTemplate"]
    spec: Manifest = json.loads(json.dumps(template["spec"]))
    pod = spec["template"]
    labels = {
        **manifests.ownership(work.store),
        resource_kinds.COMPONENT: "setup",
        resource_kinds.TASK: task,
    }
    pod["metadata"] = {**(pod.get("metadata") or {})}
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"].setdefault("activeDeadlineSeconds", _DEADLINE)
    for container in pod["spec"]["containers"]:
        kept = [each for each in container.get("env") or () if each["name"] not in env]
        container["env"] = kept + [{"name": name, "value": value} for name, value in env.items()]
    spec.setdefault("activeDeadlineSeconds", _DEADLINE)
    spec.setdefault("podFailurePolicy", _IN_VAIN)
    spec |= {"backoffLimit": 1, "ttlSecondsAfterFinished": _KEPT_FOR}
    metadata = {"namespace": place.namespace, "name": name, "labels": labels}
    return {
        "apiVersion": resource_kinds.JOB.api,
        "kind": resource_kinds.JOB.name,
        "metadata": metadata,
        "spec": spec,
    }


#: The program's word that another try would end the same.
_IN_VAIN: Manifest = {
    "rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}]
}


def _said(seen: Seen, job: str) -> str:
    """The termination message of the pod that succeeded."""
    uids = {each.uid for each in seen.workloads if each.task and each.name == job}
    pods = [pod for pod in seen.pods if pod.owner in uids and pod.phase == "Succeeded"]
    return next((each.answer for pod in pods for each in pod.containers if each.answer), "")


def _read(answer: str, task: str) -> dict[str, Any]:
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


def _note(wait: Patience, verdict: Waiting | Trouble, task: str) -> None:
    try:
        wait.note(verdict)
    except TransientError as error:
        raise PermanentError(
            "task_failed", f"The task “{task}”: {error.detail}", next_step=error.next_step
        ) from None
