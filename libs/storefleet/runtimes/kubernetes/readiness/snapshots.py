"""Resource snapshots: reduced copies of Kubernetes objects that readiness is decided from.

`snapshot_parsing` makes them from API objects, `api.watcher` keeps them current, and `diagnosis`
decides from them whether a store is ready.
"""

from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds


class ContainerSnapshot(NamedTuple):
    """The state of a container or init container of a pod.

    Attributes:
        name: Its name.
        is_ready: Whether its readiness probe succeeds.
        restarts: How often it was restarted.
        waiting_reason: Such as `ImagePullBackOff`; empty if it does not wait.
        waiting_message: The explanation of that reason.
        last_exit: How it ended the last time, such as “OOMKilled (exit 137)”; empty if it has not.
        termination_message: What a task's container has written; its result.
    """

    name: str
    is_ready: bool
    restarts: int
    waiting_reason: str
    waiting_message: str
    last_exit: str
    termination_message: str = ""


class PodSnapshot(NamedTuple):
    """The state of a pod.

    Attributes:
        name: Its name.
        uid: Its UID.
        component: Value of its component label: `web`, `database` or `setup`.
        owner_uid: UID of its controller; empty without one.
        phase: `Pending`, `Running`, `Succeeded` or `Failed`.
        is_terminating: Whether it is being deleted.
        is_ready: Whether all its containers are ready.
        unschedulable_reason: The scheduler's message; empty if it has a node.
        reason: A reason for the pod as a whole, such as `Evicted`.
        containers: Its init containers and containers.
    """

    name: str
    uid: str
    component: str
    owner_uid: str
    phase: str
    is_terminating: bool
    is_ready: bool
    unschedulable_reason: str
    reason: str
    containers: tuple[ContainerSnapshot, ...]


class ReplicaSetSnapshot(NamedTuple):
    """The ReplicaSet of one revision of a Deployment; `owner_uid` is the Deployment's."""

    uid: str
    owner_uid: str
    revision: int


class WorkloadSnapshot(NamedTuple):
    """The state of a Deployment, StatefulSet or Job.

    Attributes:
        kind: `Deployment`, `StatefulSet` or `Job`.
        name: Its name.
        uid: Its UID.
        component: Value of its component label.
        is_terminating: Whether it is being deleted.
        is_spec_observed: Whether its controller has observed the current spec.
        wanted_replicas: Replicas, or completions of a Job.
        updated_replicas: Pods of the current revision.
        ready_replicas: Ready pods.
        is_complete: Whether a Job has completed.
        failure: A Job's reason and message, or that a Deployment exceeded its progress deadline.
        rejection: Why the API server rejects its pods.
        failed_pods: A Job's failed pods.
        generation: Generation of the spec.
        total_replicas: Pods of all revisions that are not terminating.
        revision: Newest revision of a Deployment.
        task: Task label of a Job that belongs to no release; else empty.
    """

    kind: str
    name: str
    uid: str
    component: str
    is_terminating: bool
    is_spec_observed: bool
    wanted_replicas: int
    updated_replicas: int
    ready_replicas: int
    is_complete: bool
    failure: str
    rejection: str
    failed_pods: int
    generation: int = 1
    total_replicas: int = 0
    revision: int = 0
    task: str = ""


ResourceSnapshot = PodSnapshot | WorkloadSnapshot | ReplicaSetSnapshot


class StoreSnapshot(NamedTuple):
    """The snapshots of all objects of a store at one moment."""

    pods: tuple[PodSnapshot, ...] = ()
    workloads: tuple[WorkloadSnapshot, ...] = ()
    replica_sets: tuple[ReplicaSetSnapshot, ...] = ()

    def list_names(self, uids: set[str]) -> list[str]:
        """List the names of those objects that still exist."""
        workloads = [each.name for each in self.workloads if each.uid in uids]
        return workloads + [pod.name for pod in self.pods if pod.uid in uids]

    def list_pods(self, workload: WorkloadSnapshot) -> tuple[PodSnapshot, ...]:
        """List a workload's current pods; of a Deployment those of the newest revision."""
        owner_uids = self._find_owner_uids(workload)
        return tuple(
            pod
            for pod in self.pods
            if not pod.is_terminating
            and (
                pod.component == workload.component
                if owner_uids is None
                else pod.owner_uid in owner_uids
            )
        )

    def is_finished(self, workload: WorkloadSnapshot) -> bool:
        """Return whether a workload runs as wanted, or a Job has completed."""
        if workload.kind == resource_kinds.JOB.name:
            # The end of the pod is visible about two seconds before that of its Job.
            pods = self.list_pods(workload)
            return workload.is_complete or any(pod.phase == "Succeeded" for pod in pods)
        return (
            workload.is_spec_observed
            and workload.updated_replicas >= workload.wanted_replicas
            and workload.ready_replicas >= workload.wanted_replicas
            and workload.total_replicas <= workload.wanted_replicas
            and not workload.is_terminating
        )

    def list_stray_pods(self) -> list[str]:
        """List the names of pods that are terminating or whose owner is deleted or outdated."""
        known: set[str] = set()
        for workload in self.workloads:
            known |= self._find_owner_uids(workload) or set()
        return [
            pod.name
            for pod in self.pods
            if pod.is_terminating or (pod.owner_uid and pod.owner_uid not in known)
        ]

    def _find_owner_uids(self, workload: WorkloadSnapshot) -> set[str] | None:
        """Return the UIDs of the controllers of a workload's pods.

        None means that a Deployment's ReplicaSets are not known yet; the caller then identifies the
        pods by their component.
        """
        if workload.kind != resource_kinds.DEPLOYMENT.name:
            return {workload.uid}
        own = [each for each in self.replica_sets if each.owner_uid == workload.uid]
        if not own:
            return None
        if not workload.is_spec_observed:
            return set()
        return {each.uid for each in own if each.revision == workload.revision}
