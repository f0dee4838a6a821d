"""Attacks on namespaces: names, ownership labels, Pod Security, deletion."""

from tests.support.cluster.attacks.calls import (
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
from tests.support.cluster.attacks.namespace_setup import PLATFORM_NAMESPACE, changed

ON_NAMESPACES: list[Attack] = [
    Attack("takes any name", PROVISIONER, "must be st-", lambda g: create(other("payments"))),
    Attack(
        "takes a name that only begins like a store's",
        PROVISIONER,
        "must be st-",
        lambda g: create(other("st-x")),
    ),
    Attack(
        "leaves its pods unrestricted",
        PROVISIONER,
        "restrict its pods",
        lambda g: create(other(labels={"pod-security.kubernetes.io/enforce": "privileged"})),
    ),
    Attack(
        "leaves pod security out",
        PROVISIONER,
        "restrict its pods",
        lambda g: create(other(labels={"pod-security.kubernetes.io/enforce": None})),
    ),
    Attack(
        "asks for the pod security of long ago",
        PROVISIONER,
        "other than the known ones",
        lambda g: create(other(labels={"pod-security.kubernetes.io/enforce-version": "v1.0"})),
    ),
    Attack(
        "is called another store's",
        PROVISIONER,
        "must identify the store",
        lambda g: create(other(labels={"storefleet.dev/store": "sto_aaaaaaaaaaaaaaaa"})),
    ),
    Attack(
        "is called nobody's",
        PROVISIONER,
        "must identify the store",
        lambda g: create(other(labels={"app.kubernetes.io/managed-by": None})),
    ),
    Attack(
        "bears a label that others trust",
        PROVISIONER,
        "other than the known ones",
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
        "must be a host name directly below",
        lambda g: create(other(annotations={"storefleet.dev/host": "bank.example.com"})),
    ),
    Attack(
        "serves as all hosts",
        PROVISIONER,
        "must be a host name directly below",
        lambda g: create(other(annotations={"storefleet.dev/host": "*.localhost"})),
    ),
    Attack(
        "serves as no host",
        PROVISIONER,
        "must be a host name directly below",
        lambda g: create(other(annotations={"storefleet.dev/host": None})),
    ),
    Attack(
        "is collected as garbage",
        PROVISIONER,
        "must have no owner references",
        lambda g: apply(changed(g.namespace, ownerReferences=BOGUS_OWNER)),
    ),
    Attack(
        "is never let go",
        PROVISIONER,
        "no finalizers",
        lambda g: apply(changed(g.namespace, finalizers=["example.com/hold"])),
    ),
    Attack(
        "gets another host later",
        PROVISIONER,
        "labels and host of a store's namespace must not be changed",
        lambda g: apply(
            changed(g.namespace, annotations={"storefleet.dev/host": "other.localhost"})
        ),
    ),
    Attack(
        "gets another tenant later",
        PROVISIONER,
        "labels and host of a store's namespace must not be changed",
        lambda g: apply(
            changed(g.namespace, labels={"storefleet.dev/tenant": "ten_aaaaaaaaaaaaaaaa"})
        ),
    ),
    Attack(
        "gets other pod security later",
        PROVISIONER,
        "restrict its pods",
        lambda g: merged(
            namespace(g.name),
            metadata={"labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
        ),
        merge=True,
    ),
    Attack(
        "loses pod security later",
        PROVISIONER,
        "restrict its pods",
        lambda g: merged(
            namespace(g.name), metadata={"labels": {"pod-security.kubernetes.io/enforce": None}}
        ),
        merge=True,
    ),
    Attack(
        "makes kube-system a store's",
        PROVISIONER,
        "must be st-",
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
        "does not belong to a store",
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
