"""Attacks on namespaces: on names, on who owns them, on what they promise, on their end."""

from tests.support.attacks.calls import (
    BOGUS_OWNER,
    FORBIDDEN,
    FOREIGN,
    GATEWAY,
    NOBODY,
    PROVISIONER,
    REAPER,
    Attack,
    Call,
    apply,
    create,
    delete,
    merged,
    namespace,
    other,
)
from tests.support.attacks.ground import PLATFORM_NAMESPACE, changed

ON_NAMESPACES: list[Attack] = [
    Attack("takes any name", PROVISIONER, "is named st-", lambda g: create(other("payments"))),
    Attack(
        "takes a name that only begins like a store's",
        PROVISIONER,
        "is named st-",
        lambda g: create(other("st-x")),
    ),
    Attack(
        "leaves its pods unrestricted",
        PROVISIONER,
        "pods are restricted",
        lambda g: create(other(labels={"pod-security.kubernetes.io/enforce": "privileged"})),
    ),
    Attack(
        "leaves pod security out",
        PROVISIONER,
        "pods are restricted",
        lambda g: create(other(labels={"pod-security.kubernetes.io/enforce": None})),
    ),
    Attack(
        "asks for the pod security of long ago",
        PROVISIONER,
        "known labels",
        lambda g: create(other(labels={"pod-security.kubernetes.io/enforce-version": "v1.0"})),
    ),
    Attack(
        "is called another store's",
        PROVISIONER,
        "say whose it is",
        lambda g: create(other(labels={"storefleet.dev/store": "sto_aaaaaaaaaaaaaaaa"})),
    ),
    Attack(
        "is called nobody's",
        PROVISIONER,
        "say whose it is",
        lambda g: create(other(labels={"app.kubernetes.io/managed-by": None})),
    ),
    Attack(
        "bears a label that others trust",
        PROVISIONER,
        "known labels",
        lambda g: create(other(labels={"team": "payments"})),
    ),
    Attack(
        "places its pods by annotation",
        PROVISIONER,
        "annotations",
        lambda g: create(
            other(annotations={"scheduler.alpha.kubernetes.io/node-selector": "role=control-plane"})
        ),
    ),
    Attack(
        "serves as a host elsewhere",
        PROVISIONER,
        "its host is one name below",
        lambda g: create(other(annotations={"storefleet.dev/host": "bank.example.com"})),
    ),
    Attack(
        "serves as all hosts",
        PROVISIONER,
        "its host is one name below",
        lambda g: create(other(annotations={"storefleet.dev/host": "*.localhost"})),
    ),
    Attack(
        "serves as no host",
        PROVISIONER,
        "its host is one name below",
        lambda g: create(other(annotations={"storefleet.dev/host": None})),
    ),
    Attack(
        "is collected as garbage",
        PROVISIONER,
        "nobody else owns it",
        lambda g: apply(changed(g.namespace, ownerReferences=BOGUS_OWNER)),
    ),
    Attack(
        "is never let go",
        PROVISIONER,
        "nothing holds it",
        lambda g: apply(changed(g.namespace, finalizers=["example.com/hold"])),
    ),
    Attack(
        "gets another host later",
        PROVISIONER,
        "stay as they were made",
        lambda g: apply(
            changed(g.namespace, annotations={"storefleet.dev/host": "other.localhost"})
        ),
    ),
    Attack(
        "gets another tenant later",
        PROVISIONER,
        "stay as they were made",
        lambda g: apply(
            changed(g.namespace, labels={"storefleet.dev/tenant": "ten_aaaaaaaaaaaaaaaa"})
        ),
    ),
    Attack(
        "gets other pod security later",
        PROVISIONER,
        "pods are restricted",
        lambda g: merged(
            namespace(g.name),
            metadata={"labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
        ),
        merge=True,
    ),
    Attack(
        "loses pod security later",
        PROVISIONER,
        "pods are restricted",
        lambda g: merged(
            namespace(g.name), metadata={"labels": {"pod-security.kubernetes.io/enforce": None}}
        ),
        merge=True,
    ),
    Attack(
        "makes kube-system a store's",
        PROVISIONER,
        "is named st-",
        lambda g: Call(
            "PATCH",
            "/api/v1/namespaces/kube-system",
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": "storefleet"}}},
        ),
        merge=True,
    ),
    Attack(
        "is replaced", PROVISIONER, FORBIDDEN, lambda g: Call("PUT", namespace(g.name), g.namespace)
    ),
    Attack(
        "is finalized by force",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call("PUT", f"/api/v1/namespaces/{g.name}/finalize", g.namespace),
    ),
    Attack("is deleted by its maker", PROVISIONER, FORBIDDEN, lambda g: delete(namespace(g.name))),
    Attack(
        "the default one is deleted by the provisioner",
        PROVISIONER,
        FORBIDDEN,
        lambda g: delete("/api/v1/namespaces/default"),
    ),
    Attack("is made by the gateway", GATEWAY, FORBIDDEN, lambda g: create(other())),
    Attack("is deleted by the gateway", GATEWAY, FORBIDDEN, lambda g: delete(namespace(g.name))),
    Attack("is made by the reaper", REAPER, FORBIDDEN, lambda g: create(other())),
    Attack(
        "is changed by the reaper",
        REAPER,
        FORBIDDEN,
        lambda g: merged(namespace(g.name), metadata={"labels": {"a": "b"}}),
        merge=True,
    ),
    Attack(
        "is deleted by the reaper under another UID",
        REAPER,
        "",
        lambda g: delete(namespace(g.name), preconditions={"uid": NOBODY}),
    ),
    Attack(
        "kube-system is deleted by the reaper",
        REAPER,
        "may not be deleted",
        lambda g: delete("/api/v1/namespaces/kube-system"),
    ),
    Attack(
        "the platform's is deleted by the reaper",
        REAPER,
        "only a store's namespace",
        lambda g: delete(namespace(PLATFORM_NAMESPACE)),
    ),
    Attack(
        "a foreign one with a store's name is deleted by the reaper",
        REAPER,
        "only a store's namespace",
        lambda g: delete(namespace(FOREIGN)),
    ),
    Attack(
        "a foreign one with a store's name is taken over",
        PROVISIONER,
        "not a store's",
        lambda g: Call(
            "PATCH",
            namespace(FOREIGN),
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": "storefleet"}}},
        ),
        merge=True,
    ),
    Attack(
        "is finalized by the reaper",
        REAPER,
        FORBIDDEN,
        lambda g: Call("PUT", f"/api/v1/namespaces/{g.name}/finalize", g.namespace),
    ),
    Attack("all are deleted at once", REAPER, "", lambda g: delete("/api/v1/namespaces")),
]
