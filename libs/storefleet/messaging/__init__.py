"""The adapter to NATS JetStream: connect, publish, consume, subscribe.

No other package imports nats-py. A worker decides whether a message is acknowledged, retried or
terminated; this package sends that.
"""

from storefleet.messaging.connection import MessageBus
from storefleet.messaging.publisher import OutgoingMessage
from storefleet.messaging.pull_consumer import PullConsumer, ReceivedMessage

__all__ = ["MessageBus", "OutgoingMessage", "PullConsumer", "ReceivedMessage"]
