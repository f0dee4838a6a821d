"""Responses of a running gateway match the OpenAPI document, every property and header."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from storefleet.core.models import AdminCredentials
from storefleet.runtimes.simulated import SimulatedRuntime
from tests.support.cluster.samples import ENGINES as POCKET
from tests.support.http.client import Answer, Api
from tests.support.http.mail_store import (
    add_store,
    make_mail,
    run_mail_store,
    write_postal_engine,
)
from tests.support.services.polling import eventually
from tests.support.services.world import ENGINES as SHOPS
from tests.support.services.world import World

UNKNOWN = "aaaaaaaaaaaaaaaa"


class Description:
    """The served document made strict: properties that it does not name are errors."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = copy.deepcopy(document)
        for schema in _schemas(self.document["components"]["schemas"]):
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
        self.seen: set[tuple[str, str]] = set()

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Raise AssertionError unless the response to `method path` is described."""
        template, operation = self._operation(method, path)
        responses = operation["responses"]
        status = str(answer.status)
        assert status in responses or answer.status in (404, 405), (
            f"{method} {template} answered {status}: {answer.text}"
        )
        response = self._resolved(responses.get(status) or responses["default"])
        self.seen.add((operation["operationId"], status))
        for name, header in response.get("headers", {}).items():
            self._check_header(self._resolved(header), answer.headers.get(name), name)
        content = response.get("content")
        if content is None:
            assert answer.text == ""
            return
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind in content, f"{method} {template} answered {kind}"
        self._check(content[kind]["schema"], answer.body, f"{method} {template} {status}")

    def check_body(self, method: str, path: str, body: Any) -> None:
        """Raise AssertionError unless the body matches its schema."""
        _, operation = self._operation(method, path)
        self._check(
            operation["requestBody"]["content"]["application/json"]["schema"],
            body,
            f"{method} {path}",
        )

    def _operation(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        paths = self.document["paths"]
        plain = path.partition("?")[0]
        fits = [t for t in paths if re.fullmatch(re.sub(r"{\w+}", "[^/]+", t), plain)]
        template = min(fits, key=lambda t: t.count("{"))
        return template, paths[template][method.lower()]

    def _check_header(self, header: dict[str, Any], value: str | None, name: str) -> None:
        if value is None:
            assert not header.get("required"), f"{name} is missing"
        else:
            self._check(header["schema"], value, name)

    def _check(self, schema: dict[str, Any], value: Any, where: str) -> None:
        whole = {**schema, "components": self.document["components"]}
        error = best_match(Draft202012Validator(whole).iter_errors(value))
        assert error is None, (
            f"{where}: {error.json_path if error else ''}: {error.message if error else ''}"
        )

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _schemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from _schemas(child)


class CheckedApi(Api):
    """An API client that validates every response against the document."""

    described: Description

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        answer = await super().call(method, path, **more)
        self.described.check(method, path, answer)
        if answer.status < 300 and more.get("json") is not None:
            self.described.check_body(method, path, more["json"])
        return answer


async def caller(world: World, *, token: str | None = None) -> CheckedApi:
    """Return a client of the first tenant's owner or of `token`, with the served document."""
    answer = await world.api.with_token(None).get("/openapi.json")
    assert answer.status == 200
    api = CheckedApi(world.session, world.url, world.admin.token if token is None else token)
    api.described = Description(answer.body)
    return api


def other(api: CheckedApi, token: str | None) -> CheckedApi:
    same = CheckedApi(api.session, api.base, token)
    same.described = api.described
    return same


async def test_served_document_matches_file(world: World) -> None:
    await world.start("gateway")
    api = await caller(world)
    again = await api.get("/openapi.json")
    assert again.body["openapi"].startswith("3.1.")
    assert len(again.body["paths"]) == len(api.described.document["paths"])


async def test_store_lifecycle_matches_contract(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start("gateway", "provisioner", "reaper")
    api = await caller(world)
    for path in ("/me", "/engines", "/stores", "/operations", "/dead-letters"):
        assert (await api.get(path)).status == 200

    key = {"Idempotency-Key": "contract-1"}
    body = {"name": "acme", "engine": "shop", "parameters": {"title": "Acme", "products": 5}}
    first = await api.post("/stores", body, headers=key)
    again = await api.post("/stores", body, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.body == first.body
    store_id, operation_id = first.body["store"]["id"], first.body["operation"]["id"]
    await api.wait_until_done(operation_id)
    for path in (
        f"/stores/{store_id}",
        "/stores/acme",
        "/stores?state=ready&q=ac&limit=1",
        f"/stores/{store_id}/events?limit=2",
        "/stores/acme/events",
        "/stores/acme/logs?tail=3",
        f"/operations?store_id={store_id}&state=succeeded&limit=100",
    ):
        assert (await api.get(path)).status == 200
    assert (await api.post("/stores/acme/retry")).body["code"] == "not_failed"
    assert (await api.post("/stores/acme/credentials")).body["code"] == "no_credentials"

    async def credentials(*_: object) -> AdminCredentials:
        return AdminCredentials("http://acme.localhost/admin/", "admin@acme.localhost", "secret")

    monkeypatch.setattr(SimulatedRuntime, "read_credentials", credentials)
    assert (await api.post("/stores/acme/credentials")).body["password"] == "secret"

    deletion = await api.delete("/stores/acme")
    await api.wait_until_done(deletion.body["operation"]["id"])
    assert (await api.delete(f"/stores/{store_id}")).status == 202
    assert (await api.get(f"/stores/{store_id}/events?limit=100")).status == 200
    assert (await api.get("/stores?state=deleted")).body["data"][0]["state"] == "deleted"
    assert (await api.post(f"/operations/{deletion.body['operation']['id']}/cancel")).status == 200


async def test_versions_and_plans_match_contract(world: World) -> None:
    await world.start("gateway", "provisioner", "reaper", engines_path=(SHOPS, POCKET))
    api = await caller(world)
    listed = {engine["name"]: engine for engine in (await api.get("/engines")).body["data"]}
    assert [plan["name"] for plan in listed["pocket"]["plans"]][:1] == ["small"]
    assert listed["shop"]["plans"] == []
    await api.create_ready_store("limited", engine="pocket", plan="small")
    assert (await api.get("/stores/limited/usage")).body["resources"]
    await api.create_ready_store("acme", engine="shop", version="1.0.0")
    assert (await api.get("/stores/acme/usage")).body["resources"] is None

    assert (await api.post("/stores/acme/rollback", {})).body["code"] == "nothing_to_roll_back"
    assert (await api.post("/stores/acme/upgrade", {"version": "1.0.0"})).body[
        "code"
    ] == "version_unchanged"
    for path, body in (
        ("upgrade", {"version": "8"}),
        ("upgrade", {}),
        ("rollback", {"restore": 1}),
    ):
        assert (await api.post(f"/stores/acme/{path}", body)).status == 422
        assert (await api.call("POST", f"/api/v1/stores/acme/{path}", data=b"{")).status == 400
        assert (
            await api.call("POST", f"/api/v1/stores/acme/{path}", data=b"0" * 70_000)
        ).status == 413
    for version, state in (("3.0.0", "failed"), ("2.0.0", "succeeded")):
        accepted = await api.post("/stores/acme/upgrade", {"version": version})
        assert (await api.wait_until_done(accepted.body["operation"]["id"]))["state"] == state
    accepted = await api.post("/stores/acme/rollback", {"restore": True, "discard_orders": True})
    assert (await api.wait_until_done(accepted.body["operation"]["id"]))["state"] == "succeeded"
    history = (await api.get("/stores/acme/history")).body["data"]
    assert [entry["kind"] for entry in history] == ["rollback", "upgrade", "upgrade", "create"]
    assert (
        await api.get(f"/stores/acme/history?limit=1&starting_after={history[0]['operation_id']}")
    ).status == 200
    for query in ("limit=0", "starting_after=x"):
        assert (await api.get(f"/stores/acme/history?{query}")).status == 422
    assert (await api.get("/stores/acme/events?limit=100")).status == 200
    await api.delete("/stores/acme")
    assert (await api.post("/stores/acme/upgrade", {"version": "2.0.0"})).status in (404, 409)


async def test_cancel_and_retry_match_contract(world: World) -> None:
    await world.start("gateway")
    api = await caller(world)
    store = (await api.create("acme"))["store"]
    operation = (await api.get("/operations")).body["data"][0]
    assert (await api.post(f"/operations/{operation['id']}/cancel")).status == 200
    assert (await api.store("acme"))["failure"]["code"] == "cancelled"
    retried = await api.post(f"/stores/{store['id']}/retry")
    assert retried.status == 202
    await world.execute(
        "UPDATE operations SET state = 'running' WHERE id = $1", retried.body["operation"]["id"]
    )
    assert (await api.post(f"/operations/{retried.body['operation']['id']}/cancel")).status == 202
    deletion = (await api.delete("/stores/acme")).body["operation"]
    assert (await api.post(f"/operations/{deletion['id']}/cancel")).body[
        "code"
    ] == "not_cancellable"


async def test_tokens_and_tenants_match_contract(world: World) -> None:
    await world.start("gateway")
    api = await caller(world)
    tenant = await api.post("/tenants", {"name": "Acme", "email": "owner@acme.example"})
    assert tenant.status == 201
    assert (await api.post("/tenants", {"name": "Acme", "email": "OWNER@acme.example"})).body[
        "code"
    ] == "email_taken"
    owner = other(api, tenant.body["token"])
    assert (await owner.get("/me")).body["operator"] is False
    assert (await owner.post("/tenants", {"name": "B", "email": "b@acme.example"})).body[
        "code"
    ] == "scope_missing"
    assert (await owner.post("/tokens", {"name": "all"})).status == 201
    token = await owner.post(
        "/tokens", {"name": "ci", "scopes": ["stores:read"], "expires_in_days": 1}
    )
    assert token.status == 201
    reader = other(api, token.body["token"])
    assert (await reader.get("/stores")).status == 200
    assert (await reader.post("/stores", {"name": "acme"})).status == 403
    assert (await owner.get("/tokens")).status == 200
    assert (await owner.delete(f"/tokens/{token.body['id']}")).status == 204
    assert (await owner.delete(f"/tokens/{token.body['id']}")).status == 404
    assert (await reader.get("/stores")).status == 401


async def test_dead_letters_match_contract(world: World) -> None:
    await world.start("gateway")
    api = await caller(world)
    store = (await api.create("acme"))["store"]
    operation = (await api.get("/operations")).body["data"][0]
    await api.post(f"/operations/{operation['id']}/cancel")
    async with world.database.transaction() as tx:
        unreadable = await tx.dead_letters.add(
            reason="unreadable",
            detail="not JSON",
            subject="storefleet.commands.v1.reaper.x",
            payload=b"\xff{",
        )
        exhausted = await tx.dead_letters.add(
            reason="exhausted",
            detail="no_free_port: none",
            subject="storefleet.commands.v1.provisioner.create.x",
            payload=b"",
            tenant_id=world.admin.tenant_id,
            store_id=store["id"],
            operation_id=operation["id"],
        )
    assert len((await api.get("/dead-letters")).body["data"]) == 2
    for letter in (unreadable, exhausted):
        assert (await api.get(f"/dead-letters/{letter}")).status == 200
        assert (await api.post(f"/dead-letters/{letter}/replay")).status == 202
        assert (await api.post(f"/dead-letters/{letter}/replay")).body["code"] == "already_replayed"


async def test_mails_match_contract(world: World, tmp_path: Path) -> None:
    async with run_mail_store() as store:
        engines = (write_postal_engine(tmp_path / "engines"),)
        await world.start("gateway", runtime="local", engines_path=engines, default_engine="postal")
        acme = await add_store(world, "acme", port=store.port)
        await add_store(world, "older", port=world.ports.take(), key=None)
        api = await caller(world)
        store.mails = [make_mail(1), make_mail(2, text=None, html=None, subject="")]
        assert (await api.get("/stores/acme/mail?limit=1")).body["has_more"] is True
        for mail_id in ("1", "2"):
            assert (await api.get(f"/stores/acme/mail/{mail_id}")).status == 200
        assert (await api.get("/stores/acme/mail/3")).status == 404
        assert (await api.get("/stores/acme/mail?starting_after=x")).status == 422
        store.answer = b"{}"
        for path in ("mail", "mail/1"):
            assert (await api.get(f"/stores/older/{path}")).status == 409
            assert (await api.get(f"/stores/acme/{path}")).status == 502
        await world.execute(
            "UPDATE placements SET port = $2 WHERE store_id = $1", acme, world.ports.take()
        )
        for path in ("mail", "mail/1"):
            assert (await api.get(f"/stores/acme/{path}")).status == 503


async def test_rejections_match_contract(world: World) -> None:
    await world.start("gateway", stores_per_hour=1)
    api = await caller(world)
    nobody = other(api, None)
    missing = {
        "sto": (
            *(
                "GET /stores/{}",
                "DELETE /stores/{}",
                "POST /stores/{}/retry",
                "POST /stores/{}/credentials",
            ),
            *(
                "POST /stores/{}/upgrade",
                "POST /stores/{}/rollback",
                "GET /stores/{}/history",
                "GET /stores/{}/usage",
                "GET /stores/{}/mail",
                "GET /stores/{}/mail/1",
            ),
        ),
        "op": ("GET /operations/{}", "POST /operations/{}/cancel"),
        "dl": ("GET /dead-letters/{}", "POST /dead-letters/{}/replay"),
        "tok": ("DELETE /tokens/{}",),
    }
    for kind, requests in missing.items():
        for request in requests:
            method, _, path = request.format(f"{kind}_{UNKNOWN}").partition(" ")
            assert (await api.call(method, f"/api/v1{path}")).status == 404
            assert (await nobody.call(method, f"/api/v1{path}")).status == 401
    for path in (
        "/stores?limit=0",
        "/stores?state=gone",
        "/stores?starting_after=x",
        "/operations?state=x",
    ):
        assert (await api.get(path)).status == 422
    assert (await api.call("POST", "/api/v1/stores", data=b"{")).status == 400
    assert (await api.call("POST", "/api/v1/stores", data=b"[]")).status == 422
    assert (
        await api.call("POST", "/api/v1/stores", data=json.dumps({"name": "x" * 70_000}))
    ).status == 413
    assert (await api.post("/stores", {"name": "www"})).status == 422
    assert (await api.post("/stores", {"name": "acme", "engine": "none"})).status == 422
    assert (
        await api.post("/stores", {"name": "acme"}, headers={"Idempotency-Key": "a b"})
    ).status == 422
    assert (
        await api.post("/stores", {"name": "acme"}, headers={"Idempotency-Key": "k"})
    ).status == 202
    reused = await api.post("/stores", {"name": "other"}, headers={"Idempotency-Key": "k"})
    assert reused.body["code"] == "idempotency_key_reused"
    assert (await api.post("/stores", {"name": "acme-2"})).body["code"] == "stores_per_hour"


async def test_taken_name_and_exceeded_limit_match_contract(world: World) -> None:
    await world.start("gateway", stores_per_tenant=1)
    api = await caller(world)
    await api.create("acme")
    assert (await api.post("/stores", {"name": "acme-2"})).body["code"] == "stores_per_tenant"
    taken = await other(api, world.other.token).post("/stores", {"name": "acme"})
    assert taken.body["code"] == "name_taken"


async def test_unavailable_database_matches_contract(world: World) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    await world.start("gateway", database_port=port)
    api = await caller(world)
    assert (await api.get("/stores")).status == 200
    await proxy.cut()

    async def is_rejected() -> bool:
        return (await api.get("/me")).status == 503

    await eventually(is_rejected)  # the gateway caches the principal of a token for one second
    for path in documented_reads(api.described):
        assert (await api.get(path)).body["code"] == "database_unavailable"
    assert (await api.post("/stores", {"name": "acme"})).status == 503


def documented_reads(described: Description) -> Iterator[str]:
    """Yield the path of every authenticated GET, with ids of the right form."""
    for path, item in described.document["paths"].items():
        if "get" in item and item["get"].get("security") != []:
            kind = "sto" if "{ref}" in path else "op" if "operations" in path else "dl"
            yield re.sub(r"{\w+}", f"{kind}_{UNKNOWN}", path).removeprefix("/api/v1")
