"""Attacks that would give an account more permissions, or those of another."""

from tests.support.cluster.api_access import get_object_path
from tests.support.cluster.attacks.calls import (
    FORBIDDEN,
    FOREIGN,
    PROVISIONER,
    RBAC,
    Attack,
    Call,
    account,
    apply,
    binding,
    create,
    delete,
    elsewhere,
    get,
    role,
    within,
)
from tests.support.cluster.attacks.namespace_setup import PLATFORM_NAMESPACE, changed

ON_RIGHTS: list[Attack] = [
    Attack(
        "binds its role in kube-system",
        PROVISIONER,
        "only in a store's namespace",
        lambda g: create(elsewhere(binding(g), "kube-system")),
    ),
    Attack(
        "binds its role in the platform's namespace",
        PROVISIONER,
        "only in a store's namespace",
        lambda g: create(elsewhere(binding(g))),
    ),
    Attack(
        "binds its role in a foreign namespace with a store's name",
        PROVISIONER,
        "only in a store's namespace",
        lambda g: create(elsewhere(binding(g), FOREIGN)),
    ),
    Attack(
        "applies its role in kube-system",
        PROVISIONER,
        "only in a store's namespace",
        lambda g: apply(elsewhere(binding(g), "kube-system")),
    ),
    Attack(
        "binds cluster-admin",
        PROVISIONER,
        "",
        lambda g: create(changed(binding(g, roleRef=role("cluster-admin")), name="own")),
    ),
    Attack(
        "binds cluster-admin under a known name",
        PROVISIONER,
        "",
        lambda g: create(binding(g, roleRef=role("cluster-admin"))),
    ),
    Attack(
        "gives its role to the gateway",
        PROVISIONER,
        "only the three known role bindings",
        lambda g: apply(binding(g, subjects=account("gateway"))),
    ),
    Attack(
        "gives its role to a pod of the store",
        PROVISIONER,
        "only the three known role bindings",
        lambda g: apply(binding(g, subjects=account("default", g.name))),
    ),
    Attack(
        "gives its role to everybody",
        PROVISIONER,
        "only the three known role bindings",
        lambda g: apply(
            binding(
                g,
                subjects=[
                    {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "Group",
                        "name": "system:authenticated",
                    }
                ],
            )
        ),
    ),
    Attack(
        "gives the gateway more than reading",
        PROVISIONER,
        "only the three known role bindings",
        lambda g: create(changed(binding(g, subjects=account("gateway")), name="more")),
    ),
    Attack(
        "binds a known role under another name",
        PROVISIONER,
        "only the three known role bindings",
        lambda g: create(changed(binding(g), name="another")),
    ),
    Attack(
        "removes a binding",
        PROVISIONER,
        FORBIDDEN,
        lambda g: delete(get_object_path(g.bindings[0])),
    ),
    Attack(
        "binds in the whole cluster",
        PROVISIONER,
        FORBIDDEN,
        lambda g: create(
            {
                "apiVersion": RBAC,
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "own"},
                "roleRef": role("cluster-admin"),
                "subjects": account("provisioner"),
            }
        ),
    ),
    Attack(
        "makes a role",
        PROVISIONER,
        FORBIDDEN,
        lambda g: create(
            g.object(
                RBAC,
                "Role",
                "own",
                rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
            )
        ),
    ),
    Attack(
        "widens its own role",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call(
            "PATCH",
            f"/apis/{RBAC}/clusterroles/storefleet-store-operator",
            {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
        ),
        merge=True,
    ),
    Attack(
        "takes a policy away",
        PROVISIONER,
        FORBIDDEN,
        lambda g: delete(
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
            "/storefleet-provisioner-rules"
        ),
    ),
    Attack(
        "takes a policy's binding away",
        PROVISIONER,
        FORBIDDEN,
        lambda g: delete(
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
            "/storefleet-provisioner-rules"
        ),
    ),
    Attack(
        "asks for another account's token",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call(
            "POST",
            f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/serviceaccounts/reaper/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        ),
    ),
    Attack(
        "asks for a token of a store's account",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call(
            "POST",
            within(g, "serviceaccounts/default/token"),
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        ),
    ),
    Attack(
        "has a token made as a Secret",
        PROVISIONER,
        "must not hold service account tokens",
        lambda g: create(
            {
                **g.object("v1", "Secret", "token", type="kubernetes.io/service-account-token"),
                "metadata": {
                    "name": "token",
                    "namespace": g.name,
                    "annotations": {"kubernetes.io/service-account.name": "default"},
                },
            }
        ),
    ),
    Attack(
        "makes an account",
        PROVISIONER,
        FORBIDDEN,
        lambda g: create(g.object("v1", "ServiceAccount", "own")),
    ),
    Attack(
        "looks into a pod",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call("POST", within(g, "pods/web/exec?command=sh&stdin=true")),
    ),
    Attack(
        "runs beside a pod",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call("PATCH", within(g, "pods/web/ephemeralcontainers"), {"spec": {}}),
        merge=True,
    ),
    Attack(
        "opens a port of a pod",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call("POST", within(g, "pods/web/portforward")),
    ),
    Attack("makes a bare pod", PROVISIONER, FORBIDDEN, lambda g: create(g.pod())),
    Attack(
        "goes through a Service by the API server",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get(within(g, "services/web/proxy/")),
    ),
    Attack("reads a node", PROVISIONER, FORBIDDEN, lambda g: get("/api/v1/nodes")),
    Attack(
        "makes a volume",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call(
            "POST",
            "/api/v1/persistentvolumes",
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": "root"},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "hostPath": {"path": "/"},
                },
            },
        ),
    ),
]
