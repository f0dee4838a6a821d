"""The door to NATS JetStream: connect, publish, pull, follow; the one place with an ack policy."""

from storefleet.messaging.connection import Bus
from storefleet.messaging.publisher import Outgoing
from storefleet.messaging.pull_consumer import Message, Pull

__all__ = ["Bus", "Message", "Outgoing", "Pull"]
