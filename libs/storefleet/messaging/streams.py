"""What the platform keeps on JetStream: its streams, and a durable consumer for each working service."""

from typing import Any

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from storefleet.core.messages import (
    COMMANDS,
    COMMANDS_SUBJECT,
    DEAD,
    DEAD_SUBJECT,
    EVENTS,
    EVENTS_SUBJECT,
    LIVE_SUBJECT,
)

_DAY = 86_400
_ACK_WAIT = 30.0


def stream_configs(replicas: int) -> list[StreamConfig]:
    """The streams of the platform."""
    common: dict[str, Any] = {
        "storage": StorageType.FILE,
        "num_replicas": replicas,
        "duplicate_window": 600,
        "max_msg_size": 131_072,
    }
    return [
        StreamConfig(
            name=COMMANDS,
            subjects=[f"{COMMANDS_SUBJECT}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_age=7 * _DAY,
            max_bytes=256 << 20,
            **common,
        ),
        StreamConfig(
            name=EVENTS,
            subjects=[f"{EVENTS_SUBJECT}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            max_age=7 * _DAY,
            max_bytes=1 << 30,
            republish=RePublish(src=f"{EVENTS_SUBJECT}.>", dest=f"{LIVE_SUBJECT}.>"),
            **common,
        ),
        StreamConfig(
            name=DEAD,
            subjects=[f"{DEAD_SUBJECT}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            max_age=30 * _DAY,
            max_bytes=128 << 20,
            **common,
        ),
    ]


def consumer_configs() -> list[tuple[str, ConsumerConfig]]:
    """The durable consumers, one a working service."""
    return [
        (
            COMMANDS,
            ConsumerConfig(
                durable_name=service,
                filter_subject=f"{COMMANDS_SUBJECT}.{service}.>",
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT,
                max_ack_pending=1000,
            ),
        )
        for service in ("provisioner", "reaper")
    ]
