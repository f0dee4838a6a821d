"""The CLI's event stream: in order, each event once, across reconnects; `events tail`."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from storefleet.cli.cli_errors import AccessDenied, ServiceUnreachable
from storefleet.cli.commands.events import format_event
from storefleet.cli.endpoint import ApiAccess
from storefleet.cli.event_stream import NEWEST_SEQ, EventStream
from tests.support.http.scripted_gateway import STORE, TOKEN, ScriptedGateway, run_scripted_gateway


@pytest.fixture
def double() -> Iterator[ScriptedGateway]:
    with run_scripted_gateway() as running:
        yield running


class ReceivedFrames:
    """The frames that a stream delivered."""

    def __init__(
        self,
        double: ScriptedGateway,
        *,
        after: int | None = None,
        token: str = TOKEN,
        patient: bool = False,
    ) -> None:
        self.turns: list[bool] = []
        access = ApiAccess(url=double.url, token=token, live_url=double.live_url)
        self._stream = EventStream(
            access, after=after, on_connection_change=self._changed, retry_forever=patient
        )
        self.frames: list[dict[str, Any]] = []

    def _changed(self, live: bool, _why: str) -> None:
        self.turns.append(live)

    async def until(self, count: int) -> list[Any]:
        """Read this many frames and stop; a reset is recorded as ("reset", seq)."""
        async with asyncio.timeout(20), contextlib.aclosing(self._stream.read_frames()) as frames:
            async for frame in frames:
                self.frames.append(frame)
                if len(self.frames) == count:
                    break
        return [("reset", f["seq"]) if f["type"] == "reset" else f["seq"] for f in self.frames]


async def test_replay_continues_live(double: ScriptedGateway) -> None:
    for seq in (3, 4, 7):
        double.event(seq)
    asyncio.get_running_loop().call_later(0.3, double.event, 9)
    assert await ReceivedFrames(double, after=3).until(3) == [4, 7, 9]


async def test_stream_without_position_starts_at_current_event(double: ScriptedGateway) -> None:
    double.event(5)
    double.cut_after = [0]
    asyncio.get_running_loop().call_later(0.3, double.event, 6)
    heard = ReceivedFrames(double)
    assert await heard.until(1) == [6]
    assert double.asked_after == [NEWEST_SEQ, 5]


async def test_reconnects_neither_lose_nor_repeat_events(double: ScriptedGateway) -> None:
    for seq in range(1, 21):
        double.event(seq)
    double.cut_after = [5, 0, 7]
    heard = ReceivedFrames(double, after=0)
    assert await heard.until(20) == list(range(1, 21))
    assert double.asked_after == [0, 5, 5, 12]
    assert heard.turns == [True, False, True, False, True, False, True]


async def test_duplicate_event_is_printed_once(double: ScriptedGateway) -> None:
    for seq in (1, 2, 2, 1, 3):
        double.event(seq)
    assert await ReceivedFrames(double, after=0).until(3) == [1, 2, 3]


async def test_reset_is_passed_to_caller(double: ScriptedGateway) -> None:
    double.event(4)
    asyncio.get_running_loop().call_later(0.3, double.event, 5)
    assert await ReceivedFrames(double, after=900).until(2) == [("reset", 4), 5]


async def test_rejected_token_ends_stream(double: ScriptedGateway) -> None:
    with pytest.raises(AccessDenied):
        await ReceivedFrames(double, token="sft_wrong").until(1)


async def test_stream_that_never_connects_fails(double: ScriptedGateway) -> None:
    double.refuse_events = 100
    with pytest.raises(ServiceUnreachable):
        await ReceivedFrames(double).until(1)


async def test_stream_with_retry_waits_for_notifier(double: ScriptedGateway) -> None:
    double.event(1)
    double.refuse_events = 4
    heard = ReceivedFrames(double, after=0, patient=True)
    assert await heard.until(1) == [1]
    assert heard.turns == [False, False, False, False, True]


def test_events_are_printed_as_lines() -> None:
    frame: dict[str, Any] = {
        "seq": 7,
        "type": "store.ready",
        "time": "T",
        "store_id": STORE,
        "data": {},
    }
    assert format_event(frame) == f"7  T  store.ready         {STORE}"
    step = {"title": "Open\x1b[2J", "state": "running", "message": "soon"}
    frame |= {
        "type": "store.step",
        "data": {"store": {"name": "acme"}, "operation": {"steps": [step]}},
    }
    assert format_event(frame) == "7  T  store.step          acme  [1/1] Open�[2J: soon"
    assert json.loads(json.dumps(frame))["seq"] == 7


def test_scripted_gateway_repeats_last_answer() -> None:
    double = ScriptedGateway()
    double.on("GET", "/stores", 1, 2)
    assert double.answers["GET", "/stores"] == [1, 2]
