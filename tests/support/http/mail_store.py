"""A store's web server for tests of the mail outbox: honest by default, hostile on request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from multidict import CIMultiDict

from tests.support.services.world import World

KEY = "mail-key-of-the-test-" + "k" * 27
ENGINE: dict[str, Any] = {
    "name": "postal",
    "title": "Postal",
    "versions": [{"version": "1"}],
    "parameters": {"type": "object", "additionalProperties": False, "properties": {}},
    "storefront": {"path": "/"},
    "admin": {"path": "/admin/", "username": "admin@{host}"},
    "mail": {"path": "/storefleet/mail"},
    "local": {"source": ".", "template": ["true"], "serve": ["true"]},
}
Misbehaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_mail(number: int, **fields: Any) -> dict[str, Any]:
    """Make a mail as an engine keeps it, with its bodies."""
    return {
        "id": str(number),
        "created_at": datetime.fromtimestamp(1_796_000_000 + number, UTC).isoformat(),
        "from": "Acme <shop@acme.localhost>",
        "to": [f"customer-{number}@example.com"],
        "subject": f"Your order {number}",
        "text": f"Thank you for order {number}.",
        "html": f"<p>Thank you for order {number}.</p>",
        **fields,
    }


class MailStore:
    """The web server of one store, with the outbox of the engine guide."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[dict[str, Any]] = []
        self.requests: list[tuple[str, CIMultiDict[str]]] = []
        self.misbehaviour: Misbehaviour | None = None
        self.answer: bytes | str | None = None
        self.is_held = asyncio.Event()
        self.is_held.set()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer like an engine, unless the test has set something else."""
        self.requests.append((request.path_qs, CIMultiDict(request.headers)))
        await self.is_held.wait()
        if self.misbehaviour is not None:
            return await self.misbehaviour(request)
        if self.answer is not None:
            return web.Response(body=self.answer, content_type="application/json")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            raise web.HTTPNotFound
        if request.path == "/storefleet/mail":
            return self._list(request)
        number = request.path.removeprefix("/storefleet/mail/")
        found = next((mail for mail in self.mails if mail["id"] == number), None)
        if found is None:
            raise web.HTTPNotFound
        return web.json_response(found)

    def _list(self, request: web.Request) -> web.Response:
        limit, before = int(request.query["limit"]), int(request.query.get("before", 10**19))
        found = sorted(
            (mail for mail in self.mails if int(mail["id"]) < before),
            key=lambda mail: -int(mail["id"]),
        )
        shown = [
            {name: value for name, value in mail.items() if name not in ("text", "html")}
            for mail in found[:limit]
        ]
        body = json.dumps({"data": shown, "has_more": len(found) > limit}, ensure_ascii=False)
        return web.Response(text=body, content_type="application/json")


@asynccontextmanager
async def run_mail_store() -> AsyncIterator[MailStore]:
    """Run the web server of a store on a free port."""
    store = MailStore()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", store.respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    store.port = runner.addresses[0][1]
    try:
        yield store
    finally:
        store.is_held.set()
        await runner.cleanup()


def write_postal_engine(folder: Path) -> Path:
    """Write the descriptor of an engine with a mail outbox; return the folder of engines."""
    (folder / "postal").mkdir(parents=True)
    (folder / "postal" / "engine.yaml").write_text(yaml.safe_dump(ENGINE), encoding="utf-8")
    return folder


async def add_store(world: World, name: str, *, port: int, key: str | None = KEY) -> str:
    """Add a ready store of the first tenant, whose process listens on the port; return its id.

    The rows and the file are what a provisioner and a local node leave behind.
    """
    store_id: str = (await world.api.create(name, engine="postal"))["store"]["id"]
    await world.execute(
        "UPDATE stores SET state = 'ready', url = $2, admin_url = $2 WHERE id = $1",
        store_id,
        f"http://{name}.localhost:{port}/",
    )
    await world.execute(
        "INSERT INTO placements (store_id, operation_id, engine, engine_version, port, desired,"
        " observed) VALUES ($1, 'op_1', 'postal', '1', $2, 'running', 'running')",
        store_id,
        port,
    )
    folder = world.folder / "stores" / store_id
    folder.mkdir(parents=True)
    config = {"store_id": store_id} | ({"mail_key": key} if key else {})
    (folder / "store.json").write_text(json.dumps(config), encoding="utf-8")
    return store_id
