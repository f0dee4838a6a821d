"""Dashboard pages that need a database or settings of their own, without JavaScript."""

import asyncio
import re
from collections import Counter

import pytest

from storefleet.core.errors import PermanentError
from storefleet.core.models import AdminCredentials
from storefleet.runtimes.simulated import SimulatedRuntime
from tests.support.http.browser import Browser, forms
from tests.support.services.scripted_steps import Gate, Script, failing
from tests.support.services.world import World


def stranger(world: World) -> Browser:
    return Browser(world.session, world.url)


async def test_sign_in_attempts_are_limited_per_account(world: World) -> None:
    await world.start("gateway", sign_in_attempts=3, sign_in_pause=30)
    browser = stranger(world)
    right = {"email": world.admin.email, "password": world.admin.password}
    wrong = {**right, "password": "wrong"}
    guesses = await asyncio.gather(*(browser.post("/login", wrong) for _ in range(12)))
    assert Counter(answer.status for answer in guesses) == {401: 3, 429: 9}
    paused = await browser.post("/login", {**right, "email": world.admin.email.upper()})
    assert paused.status == 429
    assert 0 < int(paused.headers["Retry-After"]) <= 30
    unknown = [
        (await browser.post("/login", {"email": "x@example.com", "password": "x"})).status
        for _ in range(4)
    ]
    assert unknown == [401, 401, 401, 429]  # as for accounts that exist
    other = {"email": world.other.email, "password": world.other.password}
    assert (await browser.post("/login", other)).status == 303
    await world.execute("UPDATE sign_in_failures SET last_at = now() - interval '31 seconds'")
    assert (await browser.post("/login", right)).status == 303
    assert (
        await world.value(
            "SELECT count(*) FROM sign_in_failures WHERE account = $1", world.admin.email
        )
        == 0
    )


async def test_store_lifecycle_by_forms(world: World) -> None:
    await world.start()
    browser = await world.sign_in()
    page = await browser.get("/stores/new")
    form = next(form for form in forms(page.text) if form.action == "/stores/new")
    assert form.fields["parameters.shop.title"] == "A shop"
    assert form.fields["parameters.shop.colour"] == "red"
    choice = {
        "name": " My-Shop ",
        "parameters.shop.products": "7",
        "parameters.shop.colour": "blue",
    }
    answer = await browser.submit(page.text, "/stores/new", **choice)
    assert answer.status == 303
    address = answer.headers["Location"]
    store = (await world.api.get("/stores/my-shop")).body
    assert address == f"/stores/{store['id']}"
    assert store["parameters"] == {
        "title": "A shop",
        "products": 7,
        "discount": 0.5,
        "open": True,
        "colour": "blue",
    }
    again = await browser.submit(page.text, "/stores/new", **choice)  # the button pressed twice
    assert (again.status, again.headers["Location"]) == (303, address)
    await world.api.wait_for_state(store["id"], "ready")

    listed = await browser.get("/stores")
    assert "my-shop" in listed.text
    detail = await browser.get(address)
    assert detail.status == 200
    assert 'data-store-state="ready"' in detail.text
    assert "Simulate the creation" in detail.text
    assert "my-shop is simulated" in detail.text
    by_name = await browser.get("/stores/my-shop")
    assert by_name.status == 200
    fragment = await browser.get(f"{address}/live")
    assert fragment.text.lstrip().startswith("<div")
    assert (await browser.get("/stores/table?q=my-")).text.count("my-shop") >= 1

    wrong = await browser.submit(detail.text, f"{address}/delete", confirm="my-shoo")
    assert wrong.status == 422
    assert "Type “my-shop” to confirm" in wrong.text
    deleted = await browser.submit(detail.text, f"{address}/delete", confirm="my-shop")
    assert (deleted.status, deleted.headers["Location"]) == (303, address)
    await world.api.wait_for_state(store["id"], "deleted")
    assert (await browser.get(address)).status == 200


async def test_unchecked_box_means_false(world: World) -> None:
    await world.start("gateway")
    browser = await world.sign_in()
    page = await browser.get("/stores/new")
    form = next(form for form in forms(page.text) if form.action == "/stores/new")
    fields = {name: value for name, value in form.fields.items() if name != "parameters.shop.open"}
    assert (await browser.post("/stores/new", {**fields, "name": "closed"})).status == 303
    assert (await world.api.store("closed"))["parameters"]["open"] is False


async def test_failed_store_is_retried_by_form(world: World) -> None:
    await world.start("gateway")
    browser = await world.sign_in()
    error = lambda: PermanentError("no_room", "The disk is full.", next_step="Make room.")  # noqa: E731
    async with world.worker(Script(only=failing(error, times=1))):
        accepted = await world.api.create("unlucky")
        await world.api.wait_until_done(accepted["operation"]["id"])
        address = f"/stores/{accepted['store']['id']}"
        page = await browser.get(address)
        for text in ("The disk is full.", "Make room.", "no_room"):
            assert text in page.text
        assert (await browser.submit(page.text, f"{address}/retry")).status == 303
        await world.api.wait_for_state("unlucky", "ready")


async def test_create_is_cancelled_by_form(world: World) -> None:
    await world.start("gateway")
    browser = await world.sign_in()
    gate = Gate()
    async with world.worker(Script(only=gate)):
        accepted = await world.api.create("changed-my-mind")
        await gate.waited_for()
        page = await browser.get(f"/stores/{accepted['store']['id']}")
        action = f"/operations/{accepted['operation']['id']}/cancel"
        answer = await browser.submit(page.text, action)
        assert answer.headers["Location"] == f"/stores/{accepted['store']['id']}"
        assert (await world.api.wait_until_done(accepted["operation"]["id"]))[
            "state"
        ] == "cancelled"


async def test_credentials_are_shown_on_request_and_audited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def credentials(_self: object, store: object) -> AdminCredentials:
        return AdminCredentials("http://x.localhost/admin/", "admin@x", "s3cr3t-<word>")

    monkeypatch.setattr(SimulatedRuntime, "read_credentials", credentials)
    await world.start()
    store = await world.api.create_ready_store("secretive")
    browser = await world.sign_in()
    address = f"/stores/{store['id']}"
    page = await browser.get(address)
    assert "s3cr3t" not in page.text
    shown = await browser.submit(page.text, f"{address}/credentials")
    assert shown.status == 200
    assert "s3cr3t-&lt;word&gt;" in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    by_api = await world.api.post(
        f"/stores/{store['id']}/credentials", headers={"X-Request-Id": "reveal-0001"}
    )
    assert by_api.body == {
        "admin_url": "http://x.localhost/admin/",
        "username": "admin@x",
        "password": "s3cr3t-<word>",
    }
    assert by_api.headers["Cache-Control"] == "no-store"
    rows = await world.fetch(
        "SELECT actor, request_id FROM audit WHERE action = 'credentials.reveal' ORDER BY number"
    )
    assert len(rows) == 2
    assert rows[0]["actor"].startswith("usr_")
    assert (rows[1]["actor"][:4], rows[1]["request_id"]) == ("tok_", "reveal-0001")
    await world.api.wait_until_done(
        (await world.api.delete(f"/stores/{store['id']}")).body["operation"]["id"]
    )
    assert (await world.api.post(f"/stores/{store['id']}/credentials")).status == 409


async def test_store_list_is_filtered_and_paged(world: World) -> None:
    await world.start("gateway")
    for number in range(27):
        await world.api.create(f"shop-{number:02}")
    browser = await world.sign_in()
    first = await browser.get("/stores")
    assert "shop-26" in first.text
    assert "shop-01" not in first.text
    following = re.search(r'rel="next" href="([^"]*)"', first.text)
    assert following
    second = await browser.get(following.group(1).replace("&amp;", "&"))
    assert "shop-01" in second.text
    assert "shop-26" not in second.text
    found = await browser.get("/stores?q=shop-1&state=requested")
    assert "shop-10" in found.text
    assert "shop-20" not in found.text
    unknown_state = await browser.get("/stores?state=nowhere")
    assert unknown_state.status == 200
    assert "shop-26" in unknown_state.text
    for query in ("starting_after=x", "q=" + "a" * 101):
        assert (await browser.get(f"/stores?{query}")).status == 422


async def test_https_address_sets_secure_cookie(world: World) -> None:
    await world.start(
        "gateway", public_url="https://shops.example.com", public_live_url="wss://live.example.com"
    )
    browser = stranger(world)
    browser.origin = "https://shops.example.com"
    form = {"email": world.admin.email, "password": world.admin.password}
    answer = await browser.post("/login", form, headers={"Host": "shops.example.com"})
    assert answer.status == 303
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("live", "port"),
    [("", None), ("ws://10.0.0.1:30081", "30081"), ("wss://shops.example.com", "")],
)
async def test_pages_contain_websocket_address(world: World, live: str, port: str | None) -> None:
    await world.start("gateway", public_live_url=live)
    browser = await world.sign_in()
    page = (await browser.get("/stores")).text
    found = re.search(r'name="storefleet-live" content="(\d*) ', page)
    assert found
    assert found[1] == (str(world.port["notifier"]) if port is None else port)
