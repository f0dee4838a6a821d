"""Publish messages to JetStream in batches that wait for their acknowledgements together."""

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

#: None when the stream has stored the message, else why it has not.
PublishResult = MessagingUnavailable | PublishRejected | None


class OutgoingMessage(NamedTuple):
    """A message to publish; the stream drops a second one with the same `id`."""

    subject: str
    body: bytes
    id: str


class PublishBatch:
    """Messages that are being published; each is settled by its acknowledgement or its error."""

    def __init__(self, size: int) -> None:
        """Start with every message unacknowledged."""
        self.results: list[PublishResult] = [
            MessagingUnavailable("Publishing was not acknowledged in time.")
        ] * size
        self.complete = asyncio.get_running_loop().create_future()
        self._unsettled = set(range(size))

    def settle_message(self, index: int, result: PublishResult) -> None:
        """Set the result of a message; the first result counts."""
        if index not in self._unsettled:
            return
        self._unsettled.discard(index)
        self.results[index] = result
        if not self._unsettled and not self.complete.done():
            self.complete.set_result(None)


class Publisher:
    """Publishes over one connection at a time, with its own inbox for the acknowledgements.

    The inbox replaces nats-py's `request`, which creates a task, a timer and a token for each
    message; that took a third of the relay's time.
    """

    def __init__(self) -> None:
        self._client: Client | None = None
        self._inbox = ""
        self._batches: dict[int, PublishBatch] = {}
        self._last_batch_number = 0

    async def publish_batch(
        self, client: Client, messages: Sequence[OutgoingMessage]
    ) -> list[PublishResult]:
        """Publish messages in order and wait for every acknowledgement, at most 3 s.

        Args:
            client: The current connection.
            messages: What to publish.

        Returns:
            A result for each message.
        """
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
            pass  # messages that were not acknowledged keep their initial result
        finally:
            del self._batches[number]
        return batch.results

    async def _subscribe_inbox(self, client: Client) -> None:
        """Subscribe once per connection; nats-py renews subscriptions when it reconnects."""
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
            size_bytes = len(message.body)
            batch.settle_message(
                index, PublishRejected(f"The message is too large: {size_bytes} bytes.")
            )
        except NATS_UNAVAILABLE_ERRORS as error:
            batch.settle_message(index, MessagingUnavailable(f"Publishing failed: {error!r}"))

    async def _handle_acknowledgement(self, message: Msg) -> None:
        number, index = map(int, message.subject.rsplit(".", 2)[1:])
        if (batch := self._batches.get(number)) is not None:
            batch.settle_message(index, _read_acknowledgement(message.data))


def _read_acknowledgement(body: bytes) -> PublishResult:
    """Translate a stream's answer; an empty answer means that no stream accepts the subject."""
    try:
        answer = json.loads(body)
    except ValueError:
        return MessagingUnavailable("No stream accepts the subject of the message.")
    if "stream" in answer:
        return None
    error = answer.get("error", {})
    is_too_large = error.get("err_code") == _MESSAGE_TOO_LARGE
    error_class = PublishRejected if is_too_large else MessagingUnavailable
    return error_class(f"The stream rejected the message: {error}")
