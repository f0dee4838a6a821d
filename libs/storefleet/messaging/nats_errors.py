"""The errors by which nats-py reports that NATS does not answer."""

from nats.errors import Error as NatsError

NATS_UNAVAILABLE_ERRORS = (NatsError, OSError, TimeoutError)
