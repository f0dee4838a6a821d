"""The door to NATS JetStream: connect, publish, pull, follow; the one place with an ack policy."""

from storefleet.messaging.connection import MessageBus
from storefleet.messaging.publisher import OutgoingMessage
from storefleet.messaging.pull_consumer import PullConsumer, ReceivedMessage

__all__ = ["MessageBus", "OutgoingMessage", "PullConsumer", "ReceivedMessage"]
