"""One question to the cluster's name server, as a pod would ask it."""

import secrets
import socket
import struct
from ipaddress import IPv4Address

from tools.devcluster.layout import CLUSTER_DOMAIN, Network

API_NAME = f"kubernetes.default.svc.{CLUSTER_DOMAIN}"
_HEADER = struct.Struct("!6H")
_ADDRESS, _INTERNET, _WANT_RECURSION = 1, 1, 0x0100


def answers(network: Network, *, timeout: float = 1.0) -> bool:
    """Whether the name of the API server is known under the address of its Service."""
    question = make_question(API_NAME, number := secrets.randbits(16))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(timeout)
            asking.connect((str(network.node), 53))
            asking.send(question)
            answer = asking.recv(4096)
    except OSError:
        return False
    return has_address(answer, number, network.api_service)


def make_question(name: str, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return (
        _HEADER.pack(number, _WANT_RECURSION, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!2H", _ADDRESS, _INTERNET)
    )


def has_address(answer: bytes, number: int, address: IPv4Address) -> bool:
    """Whether this is the answer to that question, without an error, and names the address last."""
    if len(answer) < _HEADER.size:
        return False
    answered, flags, _, records, _, _ = _HEADER.unpack_from(answer)
    return (
        answered == number
        and not flags & 0xF
        and records > 0
        and address.packed in answer[_HEADER.size :]
    )
