"""Storing messages in streams: those that leave together wait together for their acknowledgements."""

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from storefleet.core.errors import BusAway, BusRefused
from storefleet.messaging.nats_errors import AWAY

_TIMEOUT = 3.0
_TOO_LARGE = 10054  # JSStreamMessageExceedsMaximumErr of nats-server

#: What became of a message: None when its stream has it.
Outcome = BusAway | BusRefused | None


class Outgoing(NamedTuple):
    """One message; the stream drops a second one with the same `id`."""

    subject: str
    body: bytes
    id: str


class Batch:
    """Messages on their way; each is settled by its acknowledgement, or was by its sending."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Outcome] = [BusAway("Publishing was not acknowledged in time.")] * size
        self.complete = asyncio.get_running_loop().create_future()
        self._open = set(range(size))

    def settle(self, index: int, outcome: Outcome) -> None:
        if index not in self._open:
            return
        self._open.discard(index)
        self.outcomes[index] = outcome
        if not self._open and not self.complete.done():
            self.complete.set_result(None)


class Publisher:
    """Publishes over one connection at a time, with an inbox of its own for the acknowledgements.

    nats-py's `request` has a task, a timer and a token for each message; that was a third of the relay's time.
    """

    def __init__(self) -> None:
        self._client: Client | None = None
        self._inbox = ""
        self._batches: dict[int, Batch] = {}
        self._number = 0

    async def publish(self, client: Client, messages: Sequence[Outgoing]) -> list[Outcome]:
        """Send the messages in order; what became of each."""
        await self._listen(client)
        self._number += 1
        number, batch = self._number, Batch(len(messages))
        self._batches[number] = batch
        try:
            async with asyncio.timeout(_TIMEOUT):
                for index, message in enumerate(messages):
                    await self._send(client, message, batch, number, index)
                await batch.complete
        except TimeoutError:
            pass  # those that were not acknowledged say so
        finally:
            del self._batches[number]
        return batch.outcomes

    async def _listen(self, client: Client) -> None:
        """Subscribe once a connection; nats-py renews what it has subscribed when it reconnects."""
        if client is not self._client:
            inbox = client.new_inbox()
            await client.subscribe(f"{inbox}.*.*", cb=self._acknowledged)
            self._client, self._inbox = client, inbox

    async def _send(
        self, client: Client, message: Outgoing, batch: Batch, number: int, index: int
    ) -> None:
        reply, headers = f"{self._inbox}.{number}.{index}", {"Nats-Msg-Id": message.id}
        try:
            await client.publish(message.subject, message.body, reply=reply, headers=headers)
        except MaxPayloadError:
            batch.settle(
                index, BusRefused(f"The message has {len(message.body)} bytes, which is too much.")
            )
        except AWAY as error:
            batch.settle(index, BusAway(f"Publishing failed: {error!r}"))

    async def _acknowledged(self, message: Msg) -> None:
        number, index = map(int, message.subject.rsplit(".", 2)[1:])
        if (batch := self._batches.get(number)) is not None:
            batch.settle(index, _outcome(message.data))


def _outcome(answer: bytes) -> Outcome:
    """What the stream's answer means; an empty one came because nobody listens on the subject."""
    try:
        ack = json.loads(answer)
    except ValueError:
        return BusAway("There is no stream that takes the message.")
    if "stream" in ack:
        return None
    reason = ack.get("error", {})
    refusal = BusRefused if reason.get("err_code") == _TOO_LARGE else BusAway
    return refusal(f"Publishing was refused: {reason}")
