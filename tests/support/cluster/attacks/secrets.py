"""Attacks on Secrets and on objects in foreign namespaces."""

from tests.support.cluster.api_access import get_object_path
from tests.support.cluster.attacks.calls import (
    FORBIDDEN,
    GATEWAY,
    NOTIFIER,
    PROVISIONER,
    REAPER,
    Attack,
    Call,
    create,
    delete,
    elsewhere,
    get,
    within,
)
from tests.support.cluster.attacks.namespace_setup import PLATFORM_NAMESPACE

ON_SECRETS: list[Attack] = [
    Attack("the provisioner reads all", PROVISIONER, FORBIDDEN, lambda g: get("/api/v1/secrets")),
    Attack(
        "the provisioner reads those of kube-system",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get("/api/v1/namespaces/kube-system/secrets"),
    ),
    Attack(
        "the provisioner reads the platform's",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get(f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/secrets/storefleet-admin"),
    ),
    Attack(
        "the provisioner lists the platform's",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get(f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/secrets"),
    ),
    Attack(
        "the provisioner watches all",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get("/api/v1/secrets?watch=true&timeoutSeconds=1"),
    ),
    Attack(
        "the provisioner reads a foreign configuration",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get("/api/v1/namespaces/kube-system/configmaps"),
    ),
    Attack(
        "the provisioner makes a Secret of the platform's",
        PROVISIONER,
        FORBIDDEN,
        lambda g: create(elsewhere(g.secrets[0])),
    ),
    Attack(
        "the provisioner runs something in the platform's namespace",
        PROVISIONER,
        FORBIDDEN,
        lambda g: create(elsewhere(g.workload("Deployment"))),
    ),
    Attack(
        "the provisioner removes the gateway",
        PROVISIONER,
        FORBIDDEN,
        lambda g: delete(f"/apis/apps/v1/namespaces/{PLATFORM_NAMESPACE}/deployments/gateway"),
    ),
    Attack(
        "the provisioner reads logs elsewhere",
        PROVISIONER,
        FORBIDDEN,
        lambda g: get(f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/pods/gateway/log"),
    ),
    Attack(
        "the gateway reads another Secret of a store",
        GATEWAY,
        FORBIDDEN,
        lambda g: get(get_object_path(g.secrets[1])),
    ),
    Attack(
        "the gateway changes the key of a mail outbox",
        GATEWAY,
        FORBIDDEN,
        lambda g: Call("PATCH", within(g, "secrets/store-mail"), {"stringData": {"mail-key": "y"}}),
        merge=True,
    ),
    Attack(
        "the gateway lists a store's Secrets",
        GATEWAY,
        FORBIDDEN,
        lambda g: get(within(g, "secrets")),
    ),
    Attack("the gateway reads all Secrets", GATEWAY, FORBIDDEN, lambda g: get("/api/v1/secrets")),
    Attack(
        "the gateway reads the platform's",
        GATEWAY,
        FORBIDDEN,
        lambda g: get(f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/secrets/storefleet-admin"),
    ),
    Attack(
        "the gateway reads a sign-in elsewhere",
        GATEWAY,
        FORBIDDEN,
        lambda g: get("/api/v1/namespaces/default/secrets/store-admin"),
    ),
    Attack(
        "the gateway changes a sign-in",
        GATEWAY,
        FORBIDDEN,
        lambda g: Call("PATCH", get_object_path(g.secrets[0]), {"stringData": {"password": "y"}}),
        merge=True,
    ),
    Attack(
        "the gateway reads logs elsewhere",
        GATEWAY,
        FORBIDDEN,
        lambda g: get("/api/v1/namespaces/kube-system/pods/x/log"),
    ),
    Attack("the gateway lists all pods", GATEWAY, FORBIDDEN, lambda g: get("/api/v1/pods")),
    Attack(
        "the gateway looks into a pod",
        GATEWAY,
        FORBIDDEN,
        lambda g: Call("POST", within(g, "pods/web/exec?command=sh")),
    ),
    Attack(
        "the gateway deletes a pod", GATEWAY, FORBIDDEN, lambda g: delete(within(g, "pods/web"))
    ),
    Attack(
        "the reaper reads a store's Secret",
        REAPER,
        FORBIDDEN,
        lambda g: get(get_object_path(g.secrets[0])),
    ),
    Attack("the reaper reads all", REAPER, FORBIDDEN, lambda g: get("/api/v1/secrets")),
    Attack(
        "the reaper deletes one", REAPER, FORBIDDEN, lambda g: delete(get_object_path(g.secrets[0]))
    ),
    Attack(
        "the reaper empties kube-system",
        REAPER,
        FORBIDDEN,
        lambda g: delete("/api/v1/namespaces/kube-system/pods"),
    ),
    Attack(
        "the reaper empties the platform's namespace",
        REAPER,
        FORBIDDEN,
        lambda g: delete(f"/apis/apps/v1/namespaces/{PLATFORM_NAMESPACE}/statefulsets"),
    ),
    Attack(
        "the reaper removes a volume",
        REAPER,
        FORBIDDEN,
        lambda g: delete("/api/v1/persistentvolumes/any"),
    ),
    Attack(
        "the reaper lets the network in",
        REAPER,
        FORBIDDEN,
        lambda g: delete(get_object_path(g.policies[0])),
    ),
    Attack(
        "the notifier reads namespaces", NOTIFIER, FORBIDDEN, lambda g: get("/api/v1/namespaces")
    ),
    Attack(
        "the notifier reads a sign-in",
        NOTIFIER,
        FORBIDDEN,
        lambda g: get(get_object_path(g.secrets[0])),
    ),
]
