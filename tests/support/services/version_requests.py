"""Requests of upgrades and rollbacks, and the failures of scripted steps."""

from typing import Any

from storefleet.core.errors import PermanentError, TransientError
from tests.support.services.scripted_steps import Script
from tests.support.services.world import World


def broken() -> PermanentError:
    return PermanentError("image_missing", "There is no such image.", next_step="Build it.")


def worse() -> PermanentError:
    return PermanentError("unschedulable", "No node takes it.", next_step="Make room.")


def busy() -> TransientError:
    return TransientError("busy", "The place is busy.", next_step="Wait.")


def make_rollback_script(**steps: Any) -> Script:
    """Build a script of rollback steps from names without the prefix `rollback-`."""
    return Script(**{f"rollback-{name}": act for name, act in steps.items()})


async def request_upgrade(world: World, name: str, version: str = "2.0.0") -> dict[str, Any]:
    answer = await world.api.post(f"/stores/{name}/upgrade", {"version": version})
    assert answer.status == 202, answer.text
    return dict(answer.body["operation"])


async def upgrade_new_store(world: World, name: str, version: str = "2.0.0") -> dict[str, Any]:
    """Create a store and upgrade it to the version."""
    store = await world.api.create_ready_store(name)
    ended = await world.api.wait_until_done((await request_upgrade(world, name, version))["id"])
    assert ended["state"] == "succeeded", ended
    return store


async def request_rollback(world: World, name: str, **how: bool) -> dict[str, Any]:
    answer = await world.api.post(f"/stores/{name}/rollback", how)
    assert answer.status == 202, answer.text
    return dict(answer.body["operation"])


def list_step_states(operation: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["name"], step["state"]) for step in operation["steps"]]
