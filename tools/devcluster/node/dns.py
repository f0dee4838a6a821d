"""Query the cluster's name server as a pod does (RFC 1035)."""

import secrets
import socket
import struct
from ipaddress import IPv4Address

from tools.devcluster.layout import CLUSTER_DOMAIN, Network

API_NAME = f"kubernetes.default.svc.{CLUSTER_DOMAIN}"
_HEADER = struct.Struct("!6H")
_ADDRESS, _INTERNET, _WANT_RECURSION = 1, 1, 0x0100


def is_api_name_resolved(network: Network, *, timeout_s: float = 1.0) -> bool:
    """Return whether the API server's name resolves to the address of its Service."""
    query_id = secrets.randbits(16)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout_s)
            client.connect((str(network.node), 53))
            client.send(make_query(API_NAME, query_id))
            response = client.recv(4096)
    except OSError:
        return False
    return is_response_with_address(response, query_id, network.api_service)


def make_query(name: str, query_id: int) -> bytes:
    """Make a query for the IPv4 address of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return (
        _HEADER.pack(query_id, _WANT_RECURSION, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!2H", _ADDRESS, _INTERNET)
    )


def is_response_with_address(response: bytes, query_id: int, address: IPv4Address) -> bool:
    """Return whether a response answers the query without an error and contains the address."""
    if len(response) < _HEADER.size:
        return False
    answered_id, flags, _, records, _, _ = _HEADER.unpack_from(response)
    return (
        answered_id == query_id
        and not flags & 0xF
        and records > 0
        and address.packed in response[_HEADER.size :]
    )
