"""Stores of the deployed platform whose owners change them, upgraded and rolled back afterwards.

An engine's test lists what owners do (`OwnerChange`) and calls `check_owner_changes`, which uses
one store for all of them:

    changes = [OwnerChange("product deleted", delete_mug, pages=("/shop/",)), …]
    await check_owner_changes(deployment, "woocommerce", changes)
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from storefleet.core.identifiers import make_resource_name
from tests.support.cluster.deployment import Deployment
from tests.support.http.client import Api
from tests.support.services.polling import eventually

CHANGE_WITHIN = 240.0


class PageAnswer(NamedTuple):
    """Status, body and location of a page; redirects are not followed."""

    status: int
    body: str
    location: str


@dataclass
class OwnedShop:
    """A store that its owner changes. `versions` are the newest version and the previous one."""

    deployment: Deployment
    api: Api
    id: str
    url: str
    at: str
    versions: tuple[str, str]

    async def request(self, path: str, method: str = "GET", **more: Any) -> PageAnswer:
        """Request a page at the store's Service under its host name, without cookies."""
        headers = {"Host": urlsplit(self.url).netloc, **more.pop("headers", {})}
        timeout = aiohttp.ClientTimeout(total=30)
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=jar) as http,
            http.request(
                method, self.at + path, headers=headers, allow_redirects=False, **more
            ) as answer,
        ):
            text = await answer.text(errors="replace")
            return PageAnswer(answer.status, text, answer.headers.get("Location", ""))

    async def run_in_pod(self, workload: str, *command: str, stdin: str = "") -> str:
        """Run a command in a pod, such as `deployment/web` or `database-0`; return its output."""
        namespace = make_resource_name(self.id)
        return await self.deployment.run_program(
            "kubectl", "-n", namespace, "exec", "-i", workload, "--", *command, stdin=stdin
        )

    async def restart_web(self) -> None:
        """Delete the web pods and wait for new ones: who changed the store must be able to."""
        namespace = make_resource_name(self.id)
        run = self.deployment.run_program
        await run("kubectl", "-n", namespace, "rollout", "restart", "deployment/web")
        await run(
            "kubectl", "-n", namespace, "rollout", "status", "deployment/web", "--timeout=180s"
        )

    async def read_credentials(self) -> dict[str, str]:
        """Read the generated admin credentials."""
        return dict((await self.api.post(f"/stores/{self.id}/credentials")).body)

    async def change_version(self, to: str = "") -> dict[str, Any]:
        """Upgrade to the newest version, or roll back from it; return the ended operation."""
        store = await self.api.store(self.id)
        newest = self.versions[0]
        is_rollback = store["engine_version"] == newest and not to
        body = {} if is_rollback else {"version": to or newest}
        verb = "rollback" if is_rollback else "upgrade"
        answer = await self.api.post(f"/stores/{self.id}/{verb}", body)
        assert answer.status == 202, answer.text
        return await self.api.wait_until_done(answer.body["operation"]["id"], within=CHANGE_WITHIN)

    async def wait_for_class(self, storefront: str, *, within: float = 60) -> None:
        """Wait until the store's JSON shows this class of the storefront."""

        async def look() -> bool:
            store = await self.api.store(self.id)
            assert store["observed"]["storefront"] == storefront, store["observed"]
            return True

        await eventually(look, within=within)


class OwnerChange(NamedTuple):
    """Something that an owner does to the store.

    Attributes:
        what: Its name.
        apply: Does it, as the owner would: in the admin, or in the database.
        storefront: The class of the storefront afterwards.
        pages: Paths whose status and location must be the same after the version change.
        undo: Undoes it; None if the next changes go together with it.
    """

    what: str
    apply: Callable[[OwnedShop], Awaitable[object]]
    storefront: str = "serving"
    pages: tuple[str, ...] = ()
    undo: Callable[[OwnedShop], Awaitable[object]] | None = None


async def open_owned_shop(deployment: Deployment, engine: str) -> OwnedShop:
    """Create a store of the engine's previous version, in a tenant of its own."""
    engines = (await deployment.api.get("/engines")).body["data"]
    (offered,) = [each for each in engines if each["name"] == engine]
    newest, previous = [version["version"] for version in offered["versions"]][:2]
    name = f"owned-{engine[:12]}-{secrets.token_hex(3)}"
    api = await deployment.create_tenant(name)
    accepted = await api.create(name, engine=engine, version=previous)
    ended = await api.wait_until_done(accepted["operation"]["id"], within=CHANGE_WITHIN)
    assert ended["state"] == "succeeded", ended
    store = await api.store(accepted["store"]["id"])
    address = await deployment.get_address(store["id"])
    return OwnedShop(deployment, api, store["id"], store["url"], address, (newest, previous))


async def check_change(shop: OwnedShop, change: OwnerChange) -> None:
    """Let the owner change the store, change its version, and compare."""
    await change.apply(shop)
    pages = ("/", *change.pages)
    before = {path: await shop.request(path) for path in pages}
    operation = await shop.change_version()
    assert operation["state"] == "succeeded", (change.what, operation)
    store = await shop.api.store(shop.id)
    assert (store["state"], store["failure"]) == ("ready", None), change.what
    for path, answer in before.items():
        after = await shop.request(path)
        assert (after.status, after.location) == (answer.status, answer.location), (
            change.what,
            path,
        )
    await shop.wait_for_class(change.storefront)
    if change.undo is not None:
        await change.undo(shop)


async def check_owner_changes(
    deployment: Deployment, engine: str, changes: Sequence[OwnerChange]
) -> OwnedShop:
    """Check all changes on one store, by turns with an upgrade and a rollback; return the store.

    At the end the web pods are restarted, which must need nothing of the owner's either.
    """
    shop = await open_owned_shop(deployment, engine)
    for change in changes:
        await check_change(shop, change)
        print(f"{engine}: {change.what} survived")
    await shop.restart_web()
    return shop


async def check_broken_release(shop: OwnedShop, version: str, *words: str) -> dict[str, Any]:
    """Upgrade to a version that breaks the store, and check that it is rolled back.

    Args:
        shop: A ready store.
        version: A version whose release does not serve as before.
        words: Parts of the operation's error.

    Returns:
        The operation.
    """
    before = await shop.api.store(shop.id)
    page = await shop.request("/")
    operation = await shop.change_version(version)
    assert operation["state"] == "failed", operation
    assert "The store is back on" in operation["error"]["detail"], operation["error"]
    for word in words:
        assert word in operation["error"]["detail"], operation["error"]
    after = await shop.api.store(shop.id)
    assert (after["state"], after["engine_version"]) == ("ready", before["engine_version"])
    assert (await shop.request("/")).status == page.status
    return operation
