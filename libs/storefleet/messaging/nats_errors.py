"""How it looks when NATS does not answer."""

from nats.errors import Error as NatsError

AWAY = (NatsError, OSError, TimeoutError)
