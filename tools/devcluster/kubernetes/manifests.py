"""Make the objects that every cluster starts with, and their paths in the API."""

from collections.abc import Sequence
from typing import Any

from tools.devcluster.layout import Network

Manifest = dict[str, Any]
PROVISIONER = "storefleet.dev/local"
STORAGE_CLASS = "standard"
_RBAC = "rbac.authorization.k8s.io"
_DNS_PORTS = (
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
)
_COLLECTIONS = {
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "ClusterRole": f"/apis/{_RBAC}/v1/clusterroles",
    "ClusterRoleBinding": f"/apis/{_RBAC}/v1/clusterrolebindings",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
}


def make_api_path(manifest: Manifest) -> str:
    """Make the API path of an object."""
    metadata = manifest["metadata"]
    collection = _COLLECTIONS[manifest["kind"]].format(namespace=metadata.get("namespace"))
    return f"{collection}/{metadata['name']}"


def make_manifests(network: Network) -> list[Manifest]:
    """Make the StorageClass, the DNS Service and the roles of the cluster's own programs."""
    return [
        make_storage_class(),
        *make_dns(network),
        *make_role(
            "bare-cluster:volumes",
            make_rule("persistentvolumes", verbs=("get", "list", "watch", "create", "delete")),
            make_rule("persistentvolumeclaims"),
        ),
        *make_role(
            "system:coredns",
            make_rule("services", "pods", "namespaces"),
            make_rule("endpointslices", group="discovery.k8s.io"),
        ),
        *make_role(
            "bare-cluster:network-policies",
            make_rule("pods", "namespaces"),
            make_rule("networkpolicies", group="networking.k8s.io"),
        ),
        make_binding(
            "bare-cluster:kubelet-api",
            role="system:kubelet-api-admin",
            user="kube-apiserver-kubelet-client",
        ),
    ]


def make_storage_class() -> Manifest:
    """Make the default StorageClass, served by `volumes`."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        # Simulated nodes can exist beside the real one; the pod's node decides where the folder is.
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def make_dns(network: Network) -> list[Manifest]:
    """Make the Service and endpoints of the name server, which is a process of the node."""
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": str(network.dns_service), "ports": list(_DNS_PORTS)},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                "kubernetes.io/service-name": "kube-dns",
                "endpointslice.kubernetes.io/managed-by": "bare-cluster",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(network.node)], "conditions": {"ready": True}}],
        "ports": list(_DNS_PORTS),
    }
    return [service, endpoints]


def make_role(user: str, *rules: Manifest) -> list[Manifest]:
    """Make a ClusterRole for one user and its binding, both named like the user."""
    role = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": user},
        "rules": list(rules),
    }
    return [role, make_binding(user, role=user, user=user)]


def make_rule(
    *resources: str, group: str = "", verbs: Sequence[str] = ("get", "list", "watch")
) -> Manifest:
    """Make a rule of a ClusterRole; by default it grants reading."""
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def make_binding(name: str, *, role: str, user: str) -> Manifest:
    """Make a ClusterRoleBinding of one user to a ClusterRole."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
