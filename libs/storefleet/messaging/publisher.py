"""Storing messages in streams: those that leave together wait together for their acknowledgements."""

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from storefleet.core.errors import MessagingUnavailable, PublishRejected
from storefleet.messaging.nats_errors import NATS_UNAVAILABLE_ERRORS

_TIMEOUT_S = 3.0
_MESSAGE_TOO_LARGE = 10054  # JSStreamMessageExceedsMaximumErr of nats-server

#: What became of a message: None when its stream has it.
PublishResult = MessagingUnavailable | PublishRejected | None


class OutgoingMessage(NamedTuple):
    """One message; the stream drops a second one with the same `id`."""

    subject: str
    body: bytes
    id: str


class PublishBatch:
    """Messages on their way; each is settled by its acknowledgement, or was by its sending."""

    def __init__(self, size: int) -> None:
        self.results: list[PublishResult] = [
            MessagingUnavailable("Publishing was not acknowledged in time.")
        ] * size
        self.complete = asyncio.get_running_loop().create_future()
        self._unsettled = set(range(size))

    def settle_message(self, index: int, result: PublishResult) -> None:
        if index not in self._unsettled:
            return
        self._unsettled.discard(index)
        self.results[index] = result
        if not self._unsettled and not self.complete.done():
            self.complete.set_result(None)


class Publisher:
    """Publishes over one connection at a time, with an inbox of its own for the acknowledgements.

    nats-py's `request` has a task, a timer and a token for each message; that was a third of the relay's time.
    """

    def __init__(self) -> None:
        self._client: Client | None = None
        self._inbox = ""
        self._batches: dict[int, PublishBatch] = {}
        self._last_batch_number = 0

    async def publish_batch(
        self, client: Client, messages: Sequence[OutgoingMessage]
    ) -> list[PublishResult]:
        """Send the messages in order; what became of each."""
        await self._subscribe_inbox(client)
        self._last_batch_number += 1
        number, batch = self._last_batch_number, PublishBatch(len(messages))
        self._batches[number] = batch
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for index, message in enumerate(messages):
                    await self._send_message(client, message, batch, number, index)
                await batch.complete
        except TimeoutError:
            pass  # those that were not acknowledged say so
        finally:
            del self._batches[number]
        return batch.results

    async def _subscribe_inbox(self, client: Client) -> None:
        """Subscribe once a connection; nats-py renews what it has subscribed when it reconnects."""
        if client is not self._client:
            inbox = client.new_inbox()
            await client.subscribe(f"{inbox}.*.*", cb=self._handle_acknowledgement)
            self._client, self._inbox = client, inbox

    async def _send_message(
        self, client: Client, message: OutgoingMessage, batch: PublishBatch, number: int, index: int
    ) -> None:
        reply, headers = f"{self._inbox}.{number}.{index}", {"Nats-Msg-Id": message.id}
        try:
            await client.publish(message.subject, message.body, reply=reply, headers=headers)
        except MaxPayloadError:
            batch.settle_message(
                index,
                PublishRejected(f"The message has {len(message.body)} bytes, which is too much."),
            )
        except NATS_UNAVAILABLE_ERRORS as error:
            batch.settle_message(index, MessagingUnavailable(f"Publishing failed: {error!r}"))

    async def _handle_acknowledgement(self, message: Msg) -> None:
        number, index = map(int, message.subject.rsplit(".", 2)[1:])
        if (batch := self._batches.get(number)) is not None:
            batch.settle_message(index, _read_acknowledgement(message.data))


def _read_acknowledgement(answer: bytes) -> PublishResult:
    """What the stream's answer means; an empty one came because nobody listens on the subject."""
    try:
        ack = json.loads(answer)
    except ValueError:
        return MessagingUnavailable("There is no stream that takes the message.")
    if "stream" in ack:
        return None
    reason = ack.get("error", {})
    refusal = (
        PublishRejected if reason.get("err_code") == _MESSAGE_TOO_LARGE else MessagingUnavailable
    )
    return refusal(f"Publishing was refused: {reason}")
