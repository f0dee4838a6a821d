"""The door to NATS JetStream: connect, publish, pull, follow; the one place with an ack policy."""

from storefleet.bus.connection import Bus
from storefleet.bus.publishing import Outgoing
from storefleet.bus.pulling import Message, Pull

__all__ = ["Bus", "Message", "Outgoing", "Pull"]
