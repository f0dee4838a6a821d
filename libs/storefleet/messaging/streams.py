"""The configuration of JetStream: the platform's streams, and a durable consumer per worker."""

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
    COMMAND_STREAM,
    COMMAND_SUBJECT_PREFIX,
    DEAD_LETTER_STREAM,
    DEAD_LETTER_SUBJECT_PREFIX,
    EVENT_STREAM,
    EVENT_SUBJECT_PREFIX,
    LIVE_EVENT_SUBJECT_PREFIX,
)

_DAY_S = 86_400
_ACK_WAIT_S = 30.0


def make_stream_configs(replicas: int) -> list[StreamConfig]:
    """Make the configuration of every stream.

    Args:
        replicas: Replicas of each stream: 1, or an odd number of NATS servers.
    """
    common: dict[str, Any] = {
        "storage": StorageType.FILE,
        "num_replicas": replicas,
        "duplicate_window": 600,
        "max_msg_size": 131_072,
    }
    return [
        StreamConfig(
            name=COMMAND_STREAM,
            subjects=[f"{COMMAND_SUBJECT_PREFIX}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_age=7 * _DAY_S,
            max_bytes=256 << 20,
            **common,
        ),
        StreamConfig(
            name=EVENT_STREAM,
            subjects=[f"{EVENT_SUBJECT_PREFIX}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            max_age=7 * _DAY_S,
            max_bytes=1 << 30,
            republish=RePublish(
                src=f"{EVENT_SUBJECT_PREFIX}.>", dest=f"{LIVE_EVENT_SUBJECT_PREFIX}.>"
            ),
            **common,
        ),
        StreamConfig(
            name=DEAD_LETTER_STREAM,
            subjects=[f"{DEAD_LETTER_SUBJECT_PREFIX}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            max_age=30 * _DAY_S,
            max_bytes=128 << 20,
            **common,
        ),
    ]


def make_consumer_configs() -> list[tuple[str, ConsumerConfig]]:
    """Make the durable consumers with their stream: one per service that runs operations."""
    return [
        (
            COMMAND_STREAM,
            ConsumerConfig(
                durable_name=service,
                filter_subject=f"{COMMAND_SUBJECT_PREFIX}.{service}.>",
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_S,
                max_ack_pending=1000,
            ),
        )
        for service in ("provisioner", "reaper")
    ]
