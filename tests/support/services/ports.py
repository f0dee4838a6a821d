"""Loopback ports that are reserved while a test runs."""

import socket


class Ports:
    """Reserves ports by bind without listen; a server with SO_REUSEADDR may still listen."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> int:
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        self._held.append(held)
        return int(held.getsockname()[1])

    def close(self) -> None:
        while self._held:
            self._held.pop().close()
