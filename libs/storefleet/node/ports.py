"""Choose loopback ports for the embedded servers, and check whether a port is free."""

import errno
import random
import socket

from storefleet.node.node_error import NodeError

#: Below the range that the kernel uses for outgoing connections, so that a chosen port stays free.
FIRST_PORT, LAST_PORT = 23_000, 29_999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Check whether a server could listen on a port.

    Raises:
        NodeError: The address cannot be used at all: it belongs to another machine, or the port
            needs privileges.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise NodeError(
                f"The address {host} with port {port} cannot be used: {error.strerror}. "
                "Set STOREFLEET_HOST to an address of this machine, or choose another port."
            ) from None
    return True


def choose_port(previous_port: int | None) -> int:
    """Choose the port of an embedded server: its previous one if that is still free.

    Args:
        previous_port: The port of the last run; None if there was none.

    Returns:
        A free port on 127.0.0.1.

    Raises:
        NodeError: No free port was found.
    """
    if previous_port is not None and is_free(previous_port):
        return previous_port
    for _ in range(200):
        port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 - not a secret
        if is_free(port):
            return port
    raise NodeError(
        f"No free port was found on 127.0.0.1: 200 ports between {FIRST_PORT} and {LAST_PORT} "
        "are in use. Stop the programs that listen there."
    )
