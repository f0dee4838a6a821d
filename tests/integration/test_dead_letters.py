"""Unreadable messages and expired operations become dead letters that can be replayed."""

import asyncio
import json
from typing import Any

from storefleet.core.errors import TransientError
from storefleet.core.identifiers import generate_id
from storefleet.core.messages import (
    DEAD_LETTER_SUBJECT_PREFIX,
    encode_cloud_event,
    make_command_subject,
)
from storefleet.core.models import utc_now
from tests.support.services.polling import eventually
from tests.support.services.scripted_steps import Script, failing
from tests.support.services.world import World


def busy() -> TransientError:
    return TransientError("busy", "The place is busy.", next_step="Wait.")


def command(**data: Any) -> bytes:
    return encode_cloud_event(
        message_id=generate_id("cmd"),
        message_type="storefleet.create",
        subject="x",
        time=utc_now(),
        data=json.dumps(data),
        extensions={},
    )


UNREADABLE = {
    "nothing": b"",
    "no JSON": b"hello \xff\x00",
    "no object": b"[1]",
    "no CloudEvent": b'{"id": "x"}',
    "no data": json.dumps({"specversion": "1.0", "id": "x", "type": "y"}).encode(),
    "no fields": command(),
    "wrong types": command(operation_id=1, store_id=[], kind={}),
    "no ids": command(operation_id="x", store_id="y", kind="create"),
    "NUL in an id": command(
        operation_id="op_\0aaaaaaaaaaaaaaa", store_id="sto_aaaaaaaaaaaaaaaa", kind="create"
    ),
    "a lone surrogate": command(
        operation_id="op_aaaaaaaaaaaaaaaa", store_id="\ud800", kind="create"
    ),
    "a field of its own": command(
        id="x", operation_id="op_aaaaaaaaaaaaaaaa", store_id="sto_aaaaaaaaaaaaaaaa"
    ),
    "too deep": b"[" * 50_000,
}


async def publish(world: World, body: bytes, kind: str = "create") -> str:
    """Publish bytes to the command stream as the gateway could; return the subject."""
    subject = make_command_subject(kind, "sto_aaaaaaaaaaaaaaaa")
    async with world.servers.nats_client("gateway") as client:
        answer = await client.request(subject, body, timeout=3)
        assert b"stream" in answer.data
    return subject


async def test_unreadable_message_is_kept_and_next_is_processed(world: World) -> None:
    await world.start("gateway", "provisioner", workers=1)
    for number, (what, body) in enumerate(UNREADABLE.items(), start=1):
        subject = await publish(world, body)
        await world.api.create_ready_store(f"behind-it-{number}")
        letters = (await world.api.get("/dead-letters")).body["data"]
        assert len(letters) == number, what
        assert (letters[0]["reason"], letters[0]["subject"], letters[0]["operation_id"]) == (
            "unreadable",
            subject,
            None,
        )
        assert letters[0]["detail"]
        shown = (await world.api.get(f"/dead-letters/{letters[0]['id']}")).body
        assert shown["payload"] == body.decode(errors="replace")
    async with world.servers.nats_client("node") as client:
        info = await client.jetstream(timeout=5).consumer_info("STORE_COMMANDS", "provisioner")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)


async def test_unreadable_message_is_replayed_byte_for_byte(world: World) -> None:
    await world.start("gateway", "reaper", "provisioner")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await publish(world, b"\x00\xffgarbage", kind="delete")

    async def letters() -> list[dict[str, Any]]:
        return list((await world.api.get("/dead-letters")).body["data"])

    letter = (await eventually(letters))[0]
    assert (await world.other_api.get("/dead-letters")).body[
        "data"
    ] == []  # without a tenant, so only the operator sees it
    assert (await world.other_api.post(f"/dead-letters/{letter['id']}/replay")).status == 404
    await world.stop("reaper")

    answer = await world.api.post(f"/dead-letters/{letter['id']}/replay")
    assert answer.status == 202
    assert answer.body["replayed_at"] is not None
    again = await world.api.post(f"/dead-letters/{letter['id']}/replay")
    assert (again.status, again.body["code"]) == (409, "already_replayed")
    async with world.servers.nats_client("node") as client:
        js = client.jetstream(timeout=5)

        async def stored() -> bytes | None:
            info = await js.stream_info("STORE_COMMANDS")
            if info.state.messages == 0:
                return None
            message = await js.get_msg("STORE_COMMANDS", seq=info.state.last_seq)
            return message.data

        assert await eventually(stored) == b"\x00\xffgarbage"
    assert heard.empty()


async def test_expired_operation_becomes_dead_letter_and_replay_retries_it(world: World) -> None:
    await world.start("gateway", "reaper")
    published: list[dict[str, Any]] = []

    async def keep(message: Any) -> None:
        published.append(json.loads(message.data))

    async with (
        world.servers.nats_client("node") as client,
        world.worker(Script(only=failing(busy, times=10**6))),
    ):
        await world.start("notifier")
        accepted = await world.api.create("given-up")
        await world.execute("UPDATE operations SET deadline = now() + interval '0.4 seconds'")
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
        assert ended["state"] == "failed"
        assert ended["attempt"] > 1
        assert ended["error"] == {
            "code": "busy",
            "detail": "The place is busy.",
            "step": "only",
            "next": "Wait.",
            "retryable": True,
        }
        assert (await world.api.store("given-up"))["failure"] == ended["error"]
        letters = (await world.api.get("/dead-letters")).body["data"]
        assert [
            (letter["reason"], letter["operation_id"], letter["store_id"]) for letter in letters
        ] == [("exhausted", accepted["operation"]["id"], accepted["store"]["id"])]
        await world.wait_until_settled()
        js = client.jetstream(timeout=5)
        message = await js.get_last_msg("DEAD_LETTERS", f"{DEAD_LETTER_SUBJECT_PREFIX}.exhausted")
        assert (
            json.loads(message.data or b"{}")["data"]["operation_id"] == accepted["operation"]["id"]
        )

    async with world.worker(Script()):
        answer = await world.api.post(f"/dead-letters/{letters[0]['id']}/replay")
        assert answer.status == 202
        assert (await world.api.wait_until_done(answer.body["operation"]["id"]))[
            "state"
        ] == "succeeded"
    assert (await world.api.get(f"/dead-letters/{letters[0]['id']}")).body[
        "replayed_at"
    ] is not None
    assert (await world.api.post(f"/dead-letters/{letters[0]['id']}/replay")).status == 409
    assert (await world.api.store("given-up"))["state"] == "ready"


async def test_tenant_lists_and_replays_own_dead_letters(world: World) -> None:
    await world.start("gateway", "reaper")
    async with world.worker(Script(only=failing(busy, times=10**6)), operation_deadline=0.3):
        accepted = await world.other_api.create("their-own")
        await world.execute("UPDATE operations SET deadline = now() + interval '0.3 seconds'")
        assert (await world.other_api.wait_until_done(accepted["operation"]["id"]))[
            "state"
        ] == "failed"
    (letter,) = (await world.other_api.get("/dead-letters")).body["data"]
    (seen,) = (await world.api.get("/dead-letters")).body["data"]  # the operator sees all tenants'
    assert letter == seen
    assert letter["tenant_id"] == world.other.tenant_id
    async with world.worker(Script()):
        answer = await world.api.post(f"/dead-letters/{letter['id']}/replay")
        assert answer.status == 202
        assert (await world.other_api.wait_until_done(answer.body["operation"]["id"]))[
            "state"
        ] == "succeeded"


async def test_dead_letter_list_is_paged(world: World) -> None:
    await world.start("gateway")
    for number in range(5):
        await world.execute(
            "INSERT INTO dead_letters (id, reason, detail, subject, payload) VALUES ($1, "
            "'unreadable', 'x', 'x', '')",
            f"dl_{number:016}",
        )
    first = (await world.api.get("/dead-letters?limit=3")).body
    assert first["has_more"] is True
    rest = (await world.api.get(f"/dead-letters?starting_after={first['data'][-1]['id']}")).body
    assert rest["has_more"] is False
    assert [letter["id"] for letter in first["data"] + rest["data"]] == [
        f"dl_{n:016}" for n in (4, 3, 2, 1, 0)
    ]


async def test_mismatched_command_changes_nothing(world: World) -> None:
    """A command is a hint: a wrong one must not take an operation from its service."""
    await world.start("gateway", "provisioner")
    store = await world.api.create_ready_store("well-kept")
    other = await world.api.create_ready_store("not-meant")
    deletion = (await world.api.delete("/stores/well-kept")).body["operation"]  # no reaper runs yet
    await publish(world, command(operation_id=deletion["id"], store_id=store["id"], kind="delete"))
    await publish(world, command(operation_id=deletion["id"], store_id=other["id"], kind="create"))
    await publish(
        world, command(operation_id=generate_id("op"), store_id=other["id"], kind="create")
    )
    await world.api.create_ready_store("behind-them")
    row = await world.fetch("SELECT state, fence FROM operations WHERE id = $1", deletion["id"])
    assert row == [{"state": "queued", "fence": 0}]
    await world.start("reaper")
    assert (await world.api.wait_until_done(deletion["id"]))["state"] == "succeeded"
    assert (await world.api.store("not-meant"))["state"] == "ready"
