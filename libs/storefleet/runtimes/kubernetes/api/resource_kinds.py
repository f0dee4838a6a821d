"""Kinds of objects that the runtime deals with, their addresses in the API, and labels by which it knows its own."""

from typing import Any, NamedTuple

Manifest = dict[str, Any]

MANAGER = "storefleet"
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
STORE = "storefleet.dev/store"
TENANT = "storefleet.dev/tenant"
ENGINE = "storefleet.dev/engine"
HOST = "storefleet.dev/host"
TASK = "storefleet.dev/task"
REVISION = "deployment.kubernetes.io/revision"


class Kind(NamedTuple):
    """What the API calls it."""

    api: str
    name: str
    plural: str
    namespaced: bool = True

    def path(self, *, namespace: str = "", name: str = "") -> str:
        """Where one object is, or, without a name, all of them are."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
PERSISTENT_VOLUME = Kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False)
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("v1", "LimitRange", "limitranges")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE = Kind("v1", "Service", "services")
EVENT = Kind("v1", "Event", "events")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Kind("v1", "Pod", "pods")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
JOB = Kind("batch/v1", "Job", "jobs")
CRON_JOB = Kind("batch/v1", "CronJob", "cronjobs")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")

WORKLOADS = (DEPLOYMENT, STATEFUL_SET, JOB)

_KINDS = {kind.name: kind for kind in globals().values() if isinstance(kind, Kind)}


def kind_of(manifest: Manifest) -> Kind:
    """The kind of an object that says what it is."""
    return _KINDS[manifest["kind"]]
