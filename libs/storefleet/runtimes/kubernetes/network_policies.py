"""Network policies of a store's namespace: nothing goes in or out but what is named here."""

from typing import Any

from storefleet.runtimes.kubernetes.api.resource_kinds import COMPONENT, NETWORK_POLICY, Manifest

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_NODE_LOCAL_DNS = "169.254.20.10/32"
#: Nothing of the cluster's, the machine's or the provider's own networks is “the internet”.
_PRIVATE = (
    *(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
    ),
    *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
)
_PRIVATE_6 = ("::/128", "::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8")


def make_network_policies(
    metadata: dict[str, Any], *, platform: str, ingress: str, internet: bool
) -> tuple[Manifest, ...]:
    """All of them; `platform` and `ingress` are the namespaces that may come in."""
    web, setup, database = ("web",), ("web", "setup"), ("database",)
    policies = [
        _policy(metadata, "default-deny", {}, ingress=[], egress=[]),
        _policy(metadata, "allow-dns", {}, egress=[_dns()]),
        _policy(
            metadata,
            "web-to-database",
            _pods(*setup),
            egress=[{"to": [{"podSelector": _pods(*database)}]}],
        ),
        _policy(
            metadata,
            "database-from-web",
            _pods(*database),
            ingress=[{"from": [{"podSelector": _pods(*setup)}]}],
        ),
        _policy(
            metadata,
            "web-ingress",
            _pods(*web),
            ingress=[{"from": [_namespaces(platform, ingress)]}],
        ),
    ]
    if internet:
        policies.append(_policy(metadata, "egress-internet", _pods(*setup), egress=[_internet()]))
    return tuple(policies)


def _policy(
    metadata: dict[str, Any],
    name: str,
    pods: dict[str, Any],
    *,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
) -> Manifest:
    """A direction that is given is closed to all but what it lists."""
    rules = {"ingress": ingress, "egress": egress}
    return {
        "apiVersion": NETWORK_POLICY.api,
        "kind": NETWORK_POLICY.name,
        "metadata": {**metadata, "name": name},
        "spec": {
            "podSelector": pods,
            "policyTypes": [way.capitalize() for way, rule in rules.items() if rule is not None],
            **{way: rule for way, rule in rules.items() if rule},
        },
    }


def _pods(*components: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": COMPONENT, "operator": "In", "values": list(components)}]}


def _namespaces(*names: str) -> dict[str, Any]:
    values = sorted(set(names))
    return {
        "namespaceSelector": {
            "matchExpressions": [{"key": _NAMESPACE_NAME, "operator": "In", "values": values}]
        }
    }


def _dns() -> dict[str, Any]:
    to = [_namespaces("kube-system"), {"ipBlock": {"cidr": _NODE_LOCAL_DNS}}]
    return {"to": to, "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def _internet() -> dict[str, Any]:
    blocks = (("0.0.0.0/0", _PRIVATE), ("::/0", _PRIVATE_6))
    return {
        "to": [{"ipBlock": {"cidr": cidr, "except": list(private)}} for cidr, private in blocks]
    }
