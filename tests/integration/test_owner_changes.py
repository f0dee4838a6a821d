"""Version changes of a store that its owner changes: baseline, comparison, takeover, retry."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio

from storefleet.core.errors import TransientError
from storefleet.core.models import Operation, Store
from storefleet.operations.step_plans import StepPlans
from storefleet.runtimes import change_check
from storefleet.runtimes.change_check import ChangeCheck, make_final
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult
from storefleet.runtimes.storefront_check import StorefrontCheck
from tests.support.cluster.samples import pocket
from tests.support.services.scripted_steps import Gate, Script
from tests.support.services.version_requests import request_rollback, request_upgrade
from tests.support.services.world import World
from tests.support.stores.owned_store import HOST, OwnedStore, run_owned_store

Release = Callable[[OwnedStore], Any]


class OwnedPlans:
    """Step plans that check an `OwnedStore` as a runtime does.

    Attributes:
        releases: What the installation of a version does to the store.
        gate: Where an installation waits, if set.
        warning: What the last step of an automatic rollback reports.
    """

    def __init__(self, store: OwnedStore, check: ChangeCheck) -> None:
        self._store = store
        self._check = check
        self.releases: dict[str, Release] = {}
        self.gate: Gate | None = None
        self.warning = ""

    @property
    def plans(self) -> StepPlans:
        return {"create": Script(), "upgrade": self._upgrade, "rollback": self._rollback}

    def _upgrade(self, store: Store, operation: Operation) -> Sequence[RuntimeStep]:
        if operation.error:
            return self._steps("rollback-release", "rollback-verify")
        return self._steps("baseline", "release", "verify")

    def _rollback(self, store: Store, operation: Operation) -> Sequence[RuntimeStep]:
        return self._steps("baseline", "release", "verify")

    def _steps(self, *names: str) -> Sequence[RuntimeStep]:
        return [RuntimeStep(name, name, self._find(name)) for name in names]

    def _find(self, name: str) -> Callable[[StepContext], Awaitable[StepResult]]:
        return {
            "baseline": self._read_baseline,
            "release": self._release_target,
            "rollback-release": self._release_origin,
        }.get(name, self._verify)

    async def _read_baseline(self, context: StepContext) -> StepResult:
        return await self._check.read_baseline(
            context, pocket(), server=self._store.server, host=HOST
        )

    async def _release_target(self, context: StepContext) -> StepResult:
        if self.gate is not None:
            await self.gate(context)
        assert context.change is not None
        return self._release(context.change.to_version)

    async def _release_origin(self, context: StepContext) -> StepResult:
        assert context.change is not None
        return self._release(context.change.from_version)

    def _release(self, version: str) -> StepResult:
        self.releases.get(version, put_nothing)(self._store)
        return StepResult(f"{version} installed")

    async def _verify(self, context: StepContext) -> StepResult:
        try:
            text = await self._check.verify_change(
                context, pocket(), server=self._store.server, host=HOST, timeout_s=0.3
            )
        except TransientError as error:
            raise make_final(error) from None
        return StepResult(text, warning=self.warning)


@pytest_asyncio.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OwnedStore]:
    monkeypatch.setattr(change_check, "_BASELINE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(change_check, "_RETRY_INTERVAL_S", 0.05)
    async with run_owned_store() as shop:
        yield shop


@pytest_asyncio.fixture
async def plans(shop: OwnedStore) -> AsyncIterator[OwnedPlans]:
    async with StorefrontCheck().open_resources() as check:
        yield OwnedPlans(shop, ChangeCheck(check))


def put_nothing(_shop: OwnedStore) -> None:
    """A release that works."""


OWNERS: dict[str, Release] = {
    "product deleted": lambda s: s.put("/", "No products"),
    "page renamed": lambda s: s.put("/", "Not found", 404),
    "closed": lambda s: s.set_health("open", "closed"),
    "password": lambda s: s.close_with_gate(401),
    "maintenance": lambda s: s.close_with_gate(503),
    "sign-in elsewhere": lambda s: s.close_with_gate(302, "", "/enter/"),
    "admin hidden": lambda s: s.put("/admin/", "Not found", 404),
    "down": lambda s: s.put("/", "Fatal error", 500),
}


async def run(world: World, operation: dict[str, Any], state: str) -> dict[str, Any]:
    ended = await world.api.wait_until_done(operation["id"])
    assert ended["state"] == state, ended
    return ended


async def retry(world: World, name: str = "acme") -> dict[str, Any]:
    answer = await world.api.post(f"/stores/{name}/retry")
    assert answer.status == 202, answer.text
    return dict(answer.body["operation"])


async def read_baseline(world: World, operation: dict[str, Any]) -> Any:
    return await world.value("SELECT baseline FROM operations WHERE id = $1", operation["id"])


async def test_owner_changes_survive_upgrade_and_rollback(
    world: World, shop: OwnedStore, plans: OwnedPlans
) -> None:
    await world.start("gateway", "reaper")
    async with world.worker(plans.plans):
        await world.api.create_ready_store("acme")
        for what, change in OWNERS.items():
            pages, shop.gate = dict(shop.pages), None
            shop.set_health("closed", "open")
            change(shop)
            ended = await run(world, await request_upgrade(world, "acme"), "succeeded")
            verified = ended["steps"][-1]["message"]
            assert ("as before" in verified) == (what != "down"), (what, verified)
            await run(world, await request_rollback(world, "acme"), "succeeded")
            shop.pages = pages


async def test_release_that_breaks_store_is_rolled_back(
    world: World, shop: OwnedStore, plans: OwnedPlans
) -> None:
    plans.releases = {
        "2.0.0": lambda s: s.set_health('"database":"ok"', '"database":"failed"'),
        "1.0.0": lambda s: s.set_health('"database":"failed"', '"database":"ok"'),
    }
    plans.warning = "The set-up of 1.0.0 failed: the Job has failed."
    await world.start("gateway", "reaper")
    async with world.worker(plans.plans):
        await world.api.create_ready_store("acme")
        ended = await run(world, await request_upgrade(world, "acme"), "failed")
    assert ended["error"]["code"] == "store_not_answering"
    assert "The check “database” passed before and now does not show" in ended["error"]["detail"]
    assert ended["error"]["detail"].endswith(
        "The store is back on 1.0.0. The set-up of 1.0.0 failed: the Job has failed."
    )
    store = await world.api.store("acme")
    assert (store["state"], store["failure"], store["engine_version"]) == ("ready", None, "1.0.0")
    baseline = await read_baseline(world, ended)
    assert baseline["storefront"] == "serving"
    assert baseline["checks"][0]["problem"] is None


@pytest.mark.parametrize("meanwhile", ["mended", "closed", "password"])
async def test_retry_of_failed_rollback_keeps_baseline(
    world: World, shop: OwnedStore, plans: OwnedPlans, meanwhile: str
) -> None:
    """The store has to answer again; the owner may have closed it meanwhile."""
    plans.releases = {"2.0.0": lambda s: s.put("/", "Fatal error", 500)}
    await world.start("gateway", "reaper")
    async with world.worker(plans.plans):
        await world.api.create_ready_store("acme")
        failed = await run(world, await request_upgrade(world, "acme"), "failed")
        assert failed["error"]["code"] == "rollback_failed"
        assert (await world.api.store("acme"))["state"] == "failed"
        again = await run(world, await retry(world), "failed")
        assert "answered 2xx before and now answers 500" in again["error"]["detail"]
        before = await read_baseline(world, failed)
        assert await read_baseline(world, again) == before
        shop.put("/", "Pocket teapot")
        OWNERS.get(meanwhile, put_nothing)(shop)
        await run(world, await retry(world), "succeeded")
    store = await world.api.store("acme")
    assert (store["state"], store["failure"], store["engine_version"]) == ("ready", None, "1.0.0")


async def test_next_worker_compares_with_recorded_baseline(
    world: World, shop: OwnedStore, plans: OwnedPlans
) -> None:
    """The first worker stops between baseline and comparison; what broke since is found."""
    plans.gate = Gate()
    await world.start("gateway", "reaper")
    async with world.worker(plans.plans, shutdown_grace=0.1):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await plans.gate.waited_for()
    plans.gate = None
    plans.releases = {
        "2.0.0": lambda s: s.put("/admin/login/", "Fatal error", 500),
        "1.0.0": lambda s: s.put("/admin/login/", "Sign in"),
    }
    async with world.worker(plans.plans):
        ended = await run(world, operation, "failed")
    assert "The admin page answered 2xx before and now answers 500." in ended["error"]["detail"]
    assert (await world.api.store("acme"))["state"] == "ready"


async def test_restore_compares_with_time_of_dump(
    world: World, shop: OwnedStore, plans: OwnedPlans
) -> None:
    """The owner closed the store after the dump; the restored store is open, as it was."""
    await world.start("gateway", "reaper")
    async with world.worker(plans.plans):
        await world.api.create_ready_store("acme")
        upgraded = await run(world, await request_upgrade(world, "acme"), "succeeded")
        shop.close_with_gate(401)
        plans.releases = {"1.0.0": lambda s: setattr(s, "gate", None)}
        ended = await run(world, await request_rollback(world, "acme", restore=True), "succeeded")
    assert await read_baseline(world, ended) == await read_baseline(world, upgraded)


async def test_unreadable_baseline_is_not_compared(
    world: World, shop: OwnedStore, plans: OwnedPlans
) -> None:
    """A newer version of the platform may have recorded it."""
    plans.gate = Gate()
    await world.start("gateway", "reaper")
    async with world.worker(plans.plans, shutdown_grace=0.1):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await plans.gate.waited_for()
    await world.execute('UPDATE operations SET baseline = \'{"storefront": "sleeping"}\'')
    plans.gate = None
    async with world.worker(plans.plans):
        ended = await run(world, operation, "succeeded")
    assert "It was not compared" in ended["steps"][-1]["message"]
