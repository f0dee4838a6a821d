"""Loopback ports: is one free, and which one does a server keep."""

import errno
import random
import socket

from storefleet.node.node_error import NodeError

#: Below the range from which the kernel takes ports for outgoing connections, so that a kept one stays free.
FIRST_PORT, LAST_PORT = 23_000, 29_999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise NodeError(
                f"The address {host} port {port} cannot be used: {error.strerror}."
            ) from None
    return True


def choose_port(previous_port: int | None) -> int:
    """The port used last time, or another one when it is new or somebody else has it by now."""
    if previous_port is not None and is_free(previous_port):
        return previous_port
    for _ in range(200):
        port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 - any free one will do
        if is_free(port):
            return port
    raise NodeError(f"No free port between {FIRST_PORT} and {LAST_PORT} was found on 127.0.0.1.")
