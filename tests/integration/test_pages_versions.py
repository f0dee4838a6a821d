"""Versions, plans, usage and history on the pages, without JavaScript."""

from typing import Any

import pytest
import pytest_asyncio

from storefleet.core.errors import PermanentError, RuntimeUnavailable
from storefleet.runtimes.simulated import SimulatedRuntime
from tests.support.http.browser import Browser, forms
from tests.support.http.client import Answer
from tests.support.services.scripted_steps import Gate, failing
from tests.support.services.version_rehearsal import (
    VERSIONED,
    ScriptedVersionChanges,
    reject_lost_orders,
)
from tests.support.services.world import World


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> ScriptedVersionChanges:
    return ScriptedVersionChanges(monkeypatch)


@pytest_asyncio.fixture
async def atelier(world: World, rehearsal: ScriptedVersionChanges) -> World:
    """Start all services with an engine that has versions and plans."""
    del rehearsal
    await world.start(engines_path=(VERSIONED,), default_engine="")
    return world


def crash() -> PermanentError:
    return PermanentError(
        "shop_crashes", "The shop ended with exit code 255.", next_step="Wait for the next version."
    )


async def page_of(browser: Browser, store: dict[str, Any]) -> Answer:
    return await browser.get(f"/stores/{store['id']}")


async def changed(
    world: World, browser: Browser, store: dict[str, Any], what: str, **fields: str
) -> Answer:
    """Submit a form of the store's page, wait for the operation, return the new page."""
    page = await page_of(browser, store)
    answer = await browser.submit(page.text, f"/stores/{store['id']}/{what}", **fields)
    assert (answer.status, answer.headers.get("Location")) == (303, f"/stores/{store['id']}"), (
        answer.text
    )
    newest = (await world.api.get(f"/operations?store_id={store['id']}")).body["data"][0]
    await world.api.wait_until_done(newest["id"])
    return await page_of(browser, store)


async def test_create_form_applies_version_and_plan(atelier: World) -> None:
    browser = await atelier.sign_in()
    page = await browser.get("/stores/new")
    form = next(form for form in forms(page.text) if form.action == "/stores/new")
    assert (form.fields["version.atelier"], form.fields["plan.atelier"]) == ("2.0.0", "medium")
    for text in ("Faster search.", "1.5 GiB", "512 MiB", "1 GiB", "Small", "Medium"):
        assert text in page.text
    chosen = {"name": "chosen", "version.atelier": "1.9.0", "plan.atelier": "small"}
    assert (await browser.submit(page.text, "/stores/new", **chosen)).status == 303
    store = await atelier.api.wait_for_state("chosen", "ready")
    assert (store["engine_version"], store["plan"]) == ("1.9.0", "small")
    shown = (await page_of(browser, store)).text
    for text in (
        "Creation with 1.9.0, plan small",
        "The previous version.",
        'id="plan-title">Small<',
        "2.1.0",
    ):
        assert text in shown
    page = await browser.get("/stores/new")
    assert (await browser.submit(page.text, "/stores/new", name="as-it-is")).status == 303
    store = await atelier.api.wait_for_state("as-it-is", "ready")
    assert (store["engine_version"], store["plan"]) == ("2.0.0", "medium")


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("version.atelier", "The version must be one of: 2.0.0, 2.1.0, 1.9.0."),
        ("plan.atelier", "The plan must be one of: small, medium."),
    ],
)
async def test_unknown_version_error_lists_versions(atelier: World, field: str, says: str) -> None:
    browser = await atelier.sign_in()
    page = await browser.get("/stores/new")
    answer = await browser.submit(page.text, "/stores/new", **{"name": "fine", field: "<9>"})
    assert answer.status == 422
    assert answer.text.count(says) == 2  # in the summary, and beside the field
    assert f'href="#{field.replace(".", "-")}"' in answer.text
    assert "<9>" not in answer.text


async def test_engine_without_plans_has_no_plan_field(world: World) -> None:
    await world.start("gateway")
    page = await (await world.sign_in()).get("/stores/new")
    assert "plan.shop" not in page.text
    assert "First version." in page.text


async def test_upgrade_and_rollback_by_forms(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    store = await atelier.api.create_ready_store("steady")
    browser = await atelier.sign_in()
    page = await changed(atelier, browser, store, "upgrade", version="2.1.0")
    assert 'id="current-version">2.1.0<' in page.text
    assert "Upgraded to 2.1.0 in" in page.text
    assert "Roll back to 2.0.0" in page.text
    assert "Upgrade 2.0.0 → 2.1.0" in page.text
    assert page.text.count(atelier.admin.email) == 2  # signed in, and in the history
    page = await changed(atelier, browser, store, "rollback")
    assert 'id="current-version">2.0.0<' in page.text
    assert "Rolled back to 2.0.0 in" in page.text
    assert "Rollback 2.1.0 → 2.0.0, software only" in page.text
    assert f'action="/stores/{store["id"]}/rollback"' not in page.text
    assert rehearsal.runs == ["dump", "release", "start", "verify", "release", "start", "verify"]


async def test_failed_upgrade_shows_reason(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    rehearsal.acts["start"] = failing(crash, times=1)
    store = await atelier.api.create_ready_store("unlucky")
    browser = await atelier.sign_in()
    page = await changed(atelier, browser, store, "upgrade", version="2.1.0")
    assert 'data-store-state="ready"' in page.text
    assert 'id="current-version">2.0.0<' in page.text
    for text in (
        "The upgrade to 2.1.0 failed",
        "exit code 255",
        "The store is back on 2.0.0.",
        "Rolled back to",
    ):
        assert text in page.text
    for text in (
        "Wait for the next version.",
        "shop_crashes",
        'data-step="verify" data-step-state="skipped"',
    ):
        assert text in page.text
    assert 'id="retry"' not in page.text


async def test_running_automatic_rollback_is_shown(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    gate = Gate()
    rehearsal.acts |= {"start": failing(crash, times=1), "rollback-start": gate}
    store = await atelier.api.create_ready_store("returning")
    browser = await atelier.sign_in()
    address = f"/stores/{store['id']}"
    await browser.submit((await browser.get(address)).text, f"{address}/upgrade", version="2.1.0")
    await gate.waited_for()
    page = (await browser.get(address)).text
    for text in (
        "Rolling back to 2.0.0",
        "Version 2.1.0 did not start",
        "exit code 255",
        "need to do anything now",
    ):
        assert text in page
    assert 'data-store-state="rolling_back"' in page
    assert "Step 5 of 6" in page
    assert 'id="cancel"' not in page
    assert f'action="{address}/upgrade"' not in page
    gate.open()
    await atelier.api.wait_for_state(store["id"], "ready")


async def test_failed_automatic_rollback_is_retryable(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    rehearsal.acts |= {"start": failing(crash, times=1), "rollback-start": failing(crash, times=1)}
    store = await atelier.api.create_ready_store("stuck")
    browser = await atelier.sign_in()
    page = await changed(atelier, browser, store, "upgrade", version="2.1.0")
    assert 'data-store-state="failed"' in page.text
    for text in (
        "The upgrade to 2.1.0 and the rollback to 2.0.0 failed",
        "rollback_failed",
        "Roll back to 2.0.0",
    ):
        assert text in page.text
    page = await changed(atelier, browser, store, "retry")
    assert 'data-store-state="ready"' in page.text
    assert 'id="current-version">2.0.0<' in page.text


async def test_rollback_confirmation_names_lost_orders(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    rehearsal.acts["orders"] = reject_lost_orders
    store = await atelier.api.create_ready_store("selling")
    browser = await atelier.sign_in()
    await changed(atelier, browser, store, "upgrade", version="2.1.0")
    page = await changed(atelier, browser, store, "rollback", restore="true")
    assert 'data-store-state="ready"' in page.text
    assert 'id="current-version">2.1.0<' in page.text
    for text in ("Not rolled back: orders would be lost", "1042 (84.00)", "orders_would_be_lost"):
        assert text in page.text
    choices = [
        form for form in forms(page.text) if form.action == f"/stores/{store['id']}/rollback"
    ]
    keep, lose = choices[:2]
    assert "restore" not in keep.fields
    assert (lose.fields["restore"], lose.fields["discard_orders"]) == ("true", "true")
    assert (await browser.post(lose.action, lose.fields)).status == 303
    await atelier.api.wait_until_done((await atelier.api.get("/operations")).body["data"][0]["id"])
    page = await page_of(browser, store)
    assert 'id="current-version">2.0.0<' in page.text
    assert "Rollback 2.1.0 → 2.0.0, software and database" in page.text
    assert rehearsal.runs[-6:] == ["orders", "stop", "restore", "release", "start", "verify"]


async def test_upgrade_is_cancelled_by_form(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    gate = Gate()
    rehearsal.acts["start"] = gate
    store = await atelier.api.create_ready_store("hesitant")
    browser = await atelier.sign_in()
    address = f"/stores/{store['id']}"
    await browser.submit((await browser.get(address)).text, f"{address}/upgrade", version="2.1.0")
    await gate.waited_for()
    page = await browser.get(address)
    assert "The store stays online." in page.text
    operation = (await atelier.api.get("/operations")).body["data"][0]
    answer = await browser.submit(page.text, f"/operations/{operation['id']}/cancel")
    assert answer.status == 303
    await atelier.api.wait_until_done(operation["id"])
    page = await browser.get(address)
    assert "The upgrade to 2.1.0 was cancelled" in page.text
    assert 'id="current-version">2.0.0<' in page.text


@pytest.mark.parametrize(
    ("what", "fields", "code", "says"),
    [
        (
            "upgrade",
            {"version": "9"},
            "invalid",
            "The version must be one of: 2.0.0, 2.1.0, 1.9.0.",
        ),
        ("upgrade", {}, "invalid", "The version must be one of"),
        ("upgrade", {"version": "2.0.0"}, "version_unchanged", "Choose another one"),
        ("rollback", {}, "nothing_to_roll_back", "Upgrade it to the version that you want"),
    ],
)
async def test_rejected_version_change_is_shown_in_section(
    atelier: World, what: str, fields: dict[str, str], code: str, says: str
) -> None:
    store = await atelier.api.create_ready_store("refused")
    browser = await atelier.sign_in()
    page = await page_of(browser, store)
    csrf = forms(page.text)[0].fields["csrf_token"]
    answer = await browser.post(f"/stores/{store['id']}/{what}", {**fields, "csrf_token": csrf})
    assert answer.status == 422
    for text in ("The version was not changed", code, says):
        assert text in answer.text
    assert (await atelier.api.store("refused"))["state"] == "ready"


async def test_second_version_change_is_rejected(
    atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    gate = Gate()
    rehearsal.acts["dump"] = gate
    store = await atelier.api.create_ready_store("busy")
    browser = await atelier.sign_in()
    before = await page_of(browser, store)
    address = f"/stores/{store['id']}/upgrade"
    assert (await browser.submit(before.text, address, version="2.1.0")).status == 303
    await gate.waited_for()
    again = await browser.submit(before.text, address, version="2.1.0")  # the button pressed twice
    assert again.status == 303
    other = await browser.submit(before.text, address, version="1.9.0")
    assert other.status == 422
    assert "not_ready" in other.text
    gate.open()
    await atelier.api.wait_for_state("busy", "ready")
    assert (await atelier.api.store("busy"))["engine_version"] == "2.1.0"


async def test_runtime_without_version_changes_is_explained(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedRuntime, "supports_version_changes", False)
    await world.start(engines_path=(VERSIONED,), default_engine="")
    store = await world.api.create_ready_store("fixed")
    browser = await world.sign_in()
    page = await page_of(browser, store)
    assert "A local store keeps its version." in page.text
    assert f'action="/stores/{store["id"]}/upgrade"' not in page.text
    csrf = forms(page.text)[0].fields["csrf_token"]
    answer = await browser.post(
        f"/stores/{store['id']}/upgrade", {"version": "2.1.0", "csrf_token": csrf}
    )
    assert answer.status == 422
    assert "cannot_change_versions" in answer.text


async def test_page_renders_without_resource_usage(
    atelier: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await atelier.api.create_ready_store("measured")
    browser = await atelier.sign_in()
    page = (await page_of(browser, store)).text
    assert 'data-usage="limits.memory"' in page
    assert "of 1.5 GiB" in page

    async def away(_self: object, _store: object) -> None:
        raise RuntimeUnavailable("The cluster does not answer.")

    monkeypatch.setattr(SimulatedRuntime, "read_usage", away)
    page = (await page_of(browser, store)).text
    assert "Usage is unavailable. The cluster does not answer." in page
    assert "Reveal credentials" in page


async def test_version_history_is_paged(atelier: World) -> None:
    store = await atelier.api.create_ready_store("old")
    for number in range(11):
        version = "2.1.0" if number % 2 == 0 else "2.0.0"
        accepted = await atelier.api.post(f"/stores/{store['id']}/upgrade", {"version": version})
        await atelier.api.wait_until_done(accepted.body["operation"]["id"])
    browser = await atelier.sign_in()
    first = await page_of(browser, store)
    assert "Creation with" not in first.text
    oldest = (await atelier.api.get(f"/stores/{store['id']}/history?limit=10")).body["data"][-1][
        "operation_id"
    ]
    second = await browser.get(f"/stores/{store['id']}?history={oldest}")
    assert f'href="/stores/{store["id"]}?history={oldest}#history"' in first.text
    assert "Creation with 2.0.0, plan medium" in second.text
    assert f'data-fragment="/stores/{store["id"]}/live?history={oldest}"' in second.text
    assert (await browser.get(f"/stores/{store['id']}?history=x")).status == 422
