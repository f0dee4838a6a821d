"""The resource kinds that the runtime uses, their API paths, and the platform's labels."""

from typing import Any, NamedTuple

#: A Kubernetes object as parsed JSON.
Manifest = dict[str, Any]

FIELD_MANAGER = "storefleet"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
COMPONENT_LABEL = "app.kubernetes.io/component"
STORE_LABEL = "storefleet.dev/store"
TENANT_LABEL = "storefleet.dev/tenant"
ENGINE_LABEL = "storefleet.dev/engine"
TASK_LABEL = "storefleet.dev/task"
HOST_ANNOTATION = "storefleet.dev/host"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"


class ResourceKind(NamedTuple):
    """A kind of Kubernetes object, as the API names it."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    def make_path(self, *, namespace: str = "", name: str = "") -> str:
        """Make the API path of one object, or of the collection.

        Args:
            namespace: Limits the path to a namespace; ignored for cluster-scoped kinds.
            name: Name of the object; empty for the collection.

        Returns:
            An absolute path such as `/apis/apps/v1/namespaces/st-x/deployments/web`.
        """
        core = "/" not in self.api_version
        root = f"/api/{self.api_version}" if core else f"/apis/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


_RBAC = "rbac.authorization.k8s.io/v1"

NAMESPACE = ResourceKind("v1", "Namespace", "namespaces", namespaced=False)
PERSISTENT_VOLUME = ResourceKind("v1", "PersistentVolume", "persistentvolumes", namespaced=False)
CLUSTER_ROLE = ResourceKind(_RBAC, "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = ResourceKind(
    _RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
ROLE_BINDING = ResourceKind(_RBAC, "RoleBinding", "rolebindings")
RESOURCE_QUOTA = ResourceKind("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = ResourceKind("v1", "LimitRange", "limitranges")
NETWORK_POLICY = ResourceKind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SECRET = ResourceKind("v1", "Secret", "secrets")
SERVICE = ResourceKind("v1", "Service", "services")
EVENT = ResourceKind("v1", "Event", "events")
PERSISTENT_VOLUME_CLAIM = ResourceKind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = ResourceKind("v1", "Pod", "pods")
DEPLOYMENT = ResourceKind("apps/v1", "Deployment", "deployments")
REPLICA_SET = ResourceKind("apps/v1", "ReplicaSet", "replicasets")
STATEFUL_SET = ResourceKind("apps/v1", "StatefulSet", "statefulsets")
JOB = ResourceKind("batch/v1", "Job", "jobs")
CRON_JOB = ResourceKind("batch/v1", "CronJob", "cronjobs")
CONFIG_MAP = ResourceKind("v1", "ConfigMap", "configmaps")

WORKLOAD_KINDS = (DEPLOYMENT, STATEFUL_SET, JOB)

_KINDS_BY_NAME = {kind.name: kind for kind in globals().values() if isinstance(kind, ResourceKind)}


def get_kind(manifest: Manifest) -> ResourceKind:
    """Return the kind of an object, as named in its `kind` field.

    Raises:
        KeyError: The runtime does not use this kind.
    """
    return _KINDS_BY_NAME[manifest["kind"]]
