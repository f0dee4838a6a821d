"""The adapter to NATS JetStream: connect, publish, consume, subscribe.

No other package imports nats-py. A worker decides how a message is acknowledged; how that is sent
is decided here.
"""

from storefleet.messaging.connection import MessageBus
from storefleet.messaging.publisher import OutgoingMessage
from storefleet.messaging.pull_consumer import PullConsumer, ReceivedMessage

__all__ = ["MessageBus", "OutgoingMessage", "PullConsumer", "ReceivedMessage"]
