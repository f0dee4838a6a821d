"""Attacks on the limits of a store: quotas, limit ranges, network policies."""

from tests.support.cluster.api_access import get_object_path
from tests.support.cluster.attacks.calls import (
    BOGUS_OWNER,
    FORBIDDEN,
    GATEWAY,
    PROVISIONER,
    Attack,
    Call,
    apply,
    create,
    delete,
    get,
    loosened,
    policy,
    within,
)
from tests.support.cluster.attacks.namespace_setup import changed

ON_RULES: list[Attack] = [
    Attack(
        "raises a quota",
        PROVISIONER,
        "policies of a store must not be changed",
        lambda g: apply(loosened(g.rule("ResourceQuota", "store"), hard={"pods": "400"})),
    ),
    Attack(
        "raises a quota by a merge",
        PROVISIONER,
        "policies of a store must not be changed",
        lambda g: Call("PATCH", get_object_path(g.limits[0]), {"spec": {"hard": {"pods": "400"}}}),
        merge=True,
    ),
    Attack(
        "removes a quota", PROVISIONER, FORBIDDEN, lambda g: delete(get_object_path(g.limits[0]))
    ),
    Attack(
        "removes all quotas", PROVISIONER, FORBIDDEN, lambda g: delete(within(g, "resourcequotas"))
    ),
    Attack(
        "has a quota collected as garbage",
        PROVISIONER,
        "owner references are not allowed",
        lambda g: apply(changed(g.limits[0], ownerReferences=BOGUS_OWNER)),
    ),
    Attack(
        "writes a quota's count",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call(
            "PATCH", f"{get_object_path(g.limits[0])}/status", {"status": {"used": {"pods": "0"}}}
        ),
        merge=True,
    ),
    Attack(
        "replaces a quota",
        PROVISIONER,
        FORBIDDEN,
        lambda g: Call("PUT", get_object_path(g.limits[0]), g.limits[0]),
    ),
    Attack(
        "raises the limits",
        PROVISIONER,
        "policies of a store must not be changed",
        lambda g: apply(
            loosened(
                g.rule("LimitRange", "store"), limits=[{"type": "Container", "max": {"cpu": "64"}}]
            )
        ),
    ),
    Attack(
        "adds limits of its own",
        PROVISIONER,
        "only the known",
        lambda g: apply(changed(g.rule("LimitRange", "store"), name="own")),
    ),
    Attack(
        "removes the limits", PROVISIONER, FORBIDDEN, lambda g: delete(get_object_path(g.limits[3]))
    ),
    Attack(
        "opens the default denial",
        PROVISIONER,
        "policies of a store must not be changed",
        lambda g: apply(loosened(g.rule("NetworkPolicy", "default-deny"), policyTypes=["Ingress"])),
    ),
    Attack(
        "selects other pods by it",
        PROVISIONER,
        "policies of a store must not be changed",
        lambda g: apply(
            loosened(
                g.rule("NetworkPolicy", "default-deny"), podSelector={"matchLabels": {"a": "b"}}
            )
        ),
    ),
    Attack("removes it", PROVISIONER, FORBIDDEN, lambda g: delete(get_object_path(g.policies[0]))),
    Attack(
        "has it collected as garbage",
        PROVISIONER,
        "owner references are not allowed",
        lambda g: apply(changed(g.policies[0], ownerReferences=BOGUS_OWNER)),
    ),
    Attack(
        "adds a policy of its own",
        PROVISIONER,
        "only the known",
        lambda g: create(policy(g, "allow-all", ingress=[{}], egress=[{}])),
    ),
    Attack(
        "lets everybody in under a known name",
        PROVISIONER,
        "ingress to a store",
        lambda g: create(policy(g, "web-ingress", ingress=[{}])),
    ),
    Attack(
        "lets every namespace in under a known name",
        PROVISIONER,
        "ingress to a store",
        lambda g: create(policy(g, "web-ingress", ingress=[{"from": [{"namespaceSelector": {}}]}])),
    ),
    Attack(
        "lets addresses in under a known name",
        PROVISIONER,
        "ingress to a store",
        lambda g: create(
            policy(g, "web-ingress", ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}])
        ),
    ),
    Attack(
        "lets everything out under a known name",
        PROVISIONER,
        "egress from a store",
        lambda g: create(policy(g, "egress-internet", egress=[{}])),
    ),
    Attack(
        "calls private networks the internet",
        PROVISIONER,
        "egress from a store",
        lambda g: create(
            policy(
                g,
                "egress-internet",
                egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["127.0.0.0/8"]}}]}],
            )
        ),
    ),
    Attack(
        "reaches for the metadata address",
        PROVISIONER,
        "egress from a store",
        lambda g: create(
            policy(
                g, "egress-internet", egress=[{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}]
            )
        ),
    ),
    Attack(
        "reaches for other stores",
        PROVISIONER,
        "egress from a store",
        lambda g: create(
            policy(
                g,
                "allow-dns",
                egress=[
                    {
                        "to": [
                            {
                                "namespaceSelector": {
                                    "matchLabels": {"app.kubernetes.io/managed-by": "storefleet"}
                                }
                            }
                        ]
                    }
                ],
            )
        ),
    ),
    Attack(
        "the gateway opens the network",
        GATEWAY,
        FORBIDDEN,
        lambda g: create(policy(g, "web-ingress", ingress=[{}])),
    ),
    Attack(
        "the gateway lifts a quota",
        GATEWAY,
        FORBIDDEN,
        lambda g: apply(loosened(g.limits[0], hard={"pods": "99"})),
    ),
    Attack(
        "the gateway reads quotas elsewhere",
        GATEWAY,
        FORBIDDEN,
        lambda g: get("/api/v1/resourcequotas"),
    ),
    Attack(
        "the gateway runs a task",
        GATEWAY,
        FORBIDDEN,
        lambda g: create(g.job()),
    ),
]
