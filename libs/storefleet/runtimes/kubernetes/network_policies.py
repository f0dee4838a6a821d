"""Network policies of a store's namespace: deny everything, then allow named connections."""

from typing import Any

from storefleet.runtimes.kubernetes.api.resource_kinds import (
    COMPONENT_LABEL,
    NETWORK_POLICY,
    Manifest,
)

_NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
_NODE_LOCAL_DNS_CIDR = "169.254.20.10/32"
#: Networks of the cluster, the machine or the provider, which are not “the internet”.
_PRIVATE_CIDRS_V4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_PRIVATE_CIDRS_V6 = ("::/128", "::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8")


def make_network_policies(
    metadata: dict[str, Any],
    *,
    platform_namespace: str,
    ingress_namespace: str,
    allow_internet: bool,
) -> tuple[Manifest, ...]:
    """Make all network policies of a store's namespace.

    Args:
        metadata: Namespace and labels of every policy.
        platform_namespace: Namespace of the platform, whose pods may call the storefront.
        ingress_namespace: Namespace of the ingress controller, whose pods may do so too.
        allow_internet: Whether the store may open connections to public addresses.
    """
    web, setup, database = ("web",), ("web", "setup"), ("database",)
    policies = [
        _make_policy(metadata, "default-deny", {}, ingress=[], egress=[]),
        _make_policy(metadata, "allow-dns", {}, egress=[_make_dns_rule()]),
        _make_policy(
            metadata,
            "web-to-database",
            _make_pod_selector(*setup),
            egress=[{"to": [{"podSelector": _make_pod_selector(*database)}]}],
        ),
        _make_policy(
            metadata,
            "database-from-web",
            _make_pod_selector(*database),
            ingress=[{"from": [{"podSelector": _make_pod_selector(*setup)}]}],
        ),
        _make_policy(
            metadata,
            "web-ingress",
            _make_pod_selector(*web),
            ingress=[{"from": [_make_namespace_peer(platform_namespace, ingress_namespace)]}],
        ),
    ]
    if allow_internet:
        selector = _make_pod_selector(*setup)
        policies.append(
            _make_policy(metadata, "egress-internet", selector, egress=[_make_internet_rule()])
        )
    return tuple(policies)


def _make_policy(
    metadata: dict[str, Any],
    name: str,
    pod_selector: dict[str, Any],
    *,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
) -> Manifest:
    """Make a policy that denies everything in each given direction, except what its rules allow."""
    rules = {"ingress": ingress, "egress": egress}
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.name,
        "metadata": {**metadata, "name": name},
        "spec": {
            "podSelector": pod_selector,
            "policyTypes": [
                direction.capitalize() for direction, rule in rules.items() if rule is not None
            ],
            **{direction: rule for direction, rule in rules.items() if rule},
        },
    }


def _make_pod_selector(*components: str) -> dict[str, Any]:
    values = list(components)
    return {"matchExpressions": [{"key": COMPONENT_LABEL, "operator": "In", "values": values}]}


def _make_namespace_peer(*names: str) -> dict[str, Any]:
    values = sorted(set(names))
    return {
        "namespaceSelector": {
            "matchExpressions": [{"key": _NAMESPACE_NAME_LABEL, "operator": "In", "values": values}]
        }
    }


def _make_dns_rule() -> dict[str, Any]:
    peers = [_make_namespace_peer("kube-system"), {"ipBlock": {"cidr": _NODE_LOCAL_DNS_CIDR}}]
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    return {"to": peers, "ports": ports}


def _make_internet_rule() -> dict[str, Any]:
    blocks = (("0.0.0.0/0", _PRIVATE_CIDRS_V4), ("::/0", _PRIVATE_CIDRS_V6))
    return {
        "to": [{"ipBlock": {"cidr": cidr, "except": list(private)}} for cidr, private in blocks]
    }
