"""Tokens, tenants and scopes over HTTP; resources of another tenant are not found."""

import itertools
import re

import pytest
from aiohttp import web

from services.gateway.app import create_app
from storefleet.core.identifiers import generate_id
from storefleet.core.settings import Settings
from tests.support.http.client import Api
from tests.support.services.polling import eventually
from tests.support.services.world import ENGINES, World

NUMBERS = itertools.count()
SCOPES = ["stores:read", "stores:write", "credentials:read", "tokens:write"]


async def token_of(api: Api, *scopes: str) -> dict[str, object]:
    answer = await api.post("/tokens", {"name": "test", "scopes": list(scopes)})
    assert answer.status == 201, answer.text
    return dict(answer.body)


async def test_token_lifecycle(platform: World) -> None:
    answer = await platform.api.post("/tokens", {"name": " ci ", "expires_in_days": 7})
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.body
    assert token["name"] == "ci"
    assert token["scopes"] == SCOPES
    assert re.fullmatch(r"tok_[a-z0-9]{16}", token["id"])
    assert token["token"].startswith(token["prefix"])
    assert token["expires_at"] > token["created_at"]
    assert (
        await platform.value(
            "SELECT count(*) FROM tokens WHERE position($1 in tokens::text) > 0", token["token"]
        )
        == 0
    )

    api = platform.api.with_token(token["token"])
    assert (await api.get("/me")).body["scopes"] == sorted(SCOPES)
    listed = (await platform.api.get("/tokens")).body
    assert listed["has_more"] is False
    mine = next(entry for entry in listed["data"] if entry["id"] == token["id"])
    assert mine.keys() == {
        "id",
        "name",
        "prefix",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
    }
    assert mine["last_used_at"] is not None
    assert (await platform.other_api.delete(f"/tokens/{token['id']}")).status == 404
    assert (await platform.api.delete(f"/tokens/{token['id']}")).status == 204
    assert (await platform.api.delete(f"/tokens/{token['id']}")).status == 404
    refused = await api.get("/me")
    assert (refused.status, refused.body["code"]) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    actions = await platform.fetch(
        "SELECT action FROM audit WHERE target = $1 ORDER BY number", token["id"]
    )
    assert [row["action"] for row in actions] == ["token.create", "token.revoke"]


async def test_expired_token_is_rejected(platform: World) -> None:
    """The rejection comes within the second for which a principal is cached."""
    token = await token_of(platform.api, "stores:read")
    api = platform.api.with_token(str(token["token"]))
    assert (await api.get("/stores")).status == 200
    await platform.execute(
        "UPDATE tokens SET expires_at = now() - interval '1 second' WHERE id = $1", token["id"]
    )

    async def refused() -> bool:
        return (await api.get("/stores")).status == 401

    await eventually(refused, within=2)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/stores", "stores:read"),
        ("GET", "/stores/scoped", "stores:read"),
        ("GET", "/stores/scoped/events", "stores:read"),
        ("GET", "/stores/scoped/logs", "stores:read"),
        ("GET", "/stores/scoped/mail", "stores:read"),
        ("GET", "/stores/scoped/mail/1", "credentials:read"),
        ("GET", "/engines", "stores:read"),
        ("GET", "/operations", "stores:read"),
        ("GET", "/operations/op_aaaaaaaaaaaaaaaa", "stores:read"),
        ("GET", "/dead-letters", "stores:read"),
        ("POST", "/stores", "stores:write"),
        ("DELETE", "/stores/scoped", "stores:write"),
        ("POST", "/stores/scoped/retry", "stores:write"),
        ("POST", "/stores/scoped/upgrade", "stores:write"),
        ("POST", "/stores/scoped/rollback", "stores:write"),
        ("GET", "/stores/scoped/history", "stores:read"),
        ("GET", "/stores/scoped/usage", "stores:read"),
        ("POST", "/operations/op_aaaaaaaaaaaaaaaa/cancel", "stores:write"),
        ("POST", "/dead-letters/dl_aaaaaaaaaaaaaaaa/replay", "stores:write"),
        ("POST", "/stores/scoped/credentials", "credentials:read"),
        ("GET", "/tokens", "tokens:write"),
        ("POST", "/tokens", "tokens:write"),
        ("DELETE", "/tokens/tok_aaaaaaaaaaaaaaaa", "tokens:write"),
        ("POST", "/tenants", "operator"),
    ],
)
async def test_every_route_requires_its_scope(
    platform: World, method: str, path: str, scope: str
) -> None:
    others = [other for other in (*SCOPES, "operator") if other != scope]
    without = platform.api.with_token(str((await token_of(platform.api, *others))["token"]))
    answer = await without.call(method, f"/api/v1{path}", json={})
    assert (answer.status, answer.body["code"]) == (403, "scope_missing")
    holder = platform.api.with_token(str((await token_of(platform.api, scope))["token"]))
    answer = await holder.call(method, f"/api/v1{path}", json={})
    assert answer.status in (200, 404, 422), answer.text


async def test_token_cannot_grant_missing_scopes(platform: World) -> None:
    answer = await platform.other_api.post("/tokens", {"name": "greedy", "scopes": ["operator"]})
    assert (answer.status, answer.body["code"]) == (403, "scope_missing")
    weak = await token_of(platform.api, "tokens:write", "stores:read")
    api = platform.api.with_token(str(weak["token"]))
    assert (await api.post("/tokens", {"name": "greedy", "scopes": ["stores:write"]})).status == 403
    default = await api.post("/tokens", {"name": "the same"})
    assert default.body["scopes"] == ["stores:read", "tokens:write"]


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"name": ""}, {"name": "  "}, {"name": "a" * 101}, {"name": "x", "scopes": []}),
        *({"name": "x", "scopes": ["everything"]}, {"name": "x", "expires_in_days": 0}),
        *(
            {"name": "x", "expires_in_days": 367},
            {"name": "x", "expires_in_days": "7"},
            {"name": "x", "more": 1},
        ),
    ],
)
async def test_invalid_token_requests_are_rejected(
    platform: World, body: dict[str, object]
) -> None:
    answer = await platform.api.post("/tokens", body)
    assert answer.status == 422
    assert answer.body["errors"]


@pytest.mark.parametrize(
    "header",
    [
        *(
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer nonsense",
            "Bearer sft_" + "a" * 43,
            "Bearer sft_" + "a" * 5000,
        ),
        *("sft_x", "Bearer sft_\u00e4", "Bearer a b c"),
    ],
)
async def test_unknown_principal_gets_401(platform: World, header: str) -> None:
    nobody = platform.api.with_token(None)
    for path in ("/me", "/stores", "/operations", "/tokens"):
        answer = await nobody.get(path, headers={"Authorization": header})
        assert answer.status == 401, answer.text
        assert answer.body["code"] == "unauthenticated"
    assert (await nobody.get("/stores")).status == 401


async def test_operator_creates_tenants(platform: World) -> None:
    answer = await platform.api.post("/tenants", {"name": "Third", "email": "Third@Example.com"})
    assert answer.status == 201
    assert answer.body.keys() == {"tenant", "email", "password", "token"}
    assert answer.headers["Cache-Control"] == "no-store"
    third = platform.api.with_token(answer.body["token"])
    me = (await third.get("/me")).body
    assert (me["tenant"], me["operator"]) == (answer.body["tenant"], False)
    assert (await third.get("/stores")).body["data"] == []
    taken = await platform.api.post("/tenants", {"name": "Fourth", "email": "third@example.COM"})
    assert (taken.status, taken.body["code"]) == (409, "email_taken")
    assert (
        await platform.other_api.post("/tenants", {"name": "Fifth", "email": "a@example.com"})
    ).status == 403
    for wrong in (
        "",
        "nobody",
        "a@",
        "@b",
        "a b@example.com",
        "a@b c",
        "a" * 65 + "@example.com",
        "a@example.com\n",
    ):
        assert (await platform.api.post("/tenants", {"name": "x", "email": wrong})).status == 422, (
            wrong
        )


def routes_with_references() -> list[tuple[str, str]]:
    """Return method and path of every API route that refers to a resource."""
    app: web.Application = create_app(Settings(engines_path=(ENGINES,), runtime="simulated"))
    return sorted(
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
        and "{" in route.resource.canonical
        and route.method != "HEAD"
        and route.resource.canonical.startswith("/api/")
    )


@pytest.mark.parametrize(("method", "path"), routes_with_references())
async def test_resources_of_other_tenant_return_404(
    platform: World, method: str, path: str
) -> None:
    store = await platform.other_api.create_ready_store(f"foreign-{next(NUMBERS)}")
    operation = (await platform.other_api.get(f"/operations?store_id={store['id']}")).body["data"][
        0
    ]
    token = (await platform.other_api.post("/tokens", {"name": "foreign"})).body
    letter = generate_id("dl")
    await platform.execute(
        "INSERT INTO dead_letters (id, tenant_id, store_id, operation_id, reason, detail, "
        "subject, payload)"
        " VALUES ($1, $2, $3, $4, 'exhausted', 'x', 'x', '')",
        letter, platform.other.tenant_id, store["id"], operation["id"],
    )  # fmt: skip
    answer = await platform.api.post("/tenants", {"name": "Nosy", "email": f"{letter}@example.com"})
    nosy = platform.api.with_token(answer.body["token"])
    before = await snapshot(platform)
    refs = {"stores": (store["id"], store["name"]), "operations": (operation["id"],)}
    refs |= {"tokens": (token["id"],), "dead-letters": (letter,)}
    for ref in refs[path.split("/")[3]]:
        asked = path.replace("{ref}", ref).replace("{id}", ref)
        foreign = await nosy.call(method, asked)
        assert foreign.status == 404, (asked, foreign.text)
        unknown = await nosy.call(method, asked.replace(ref, f"{ref[:-4]}zzzz"))
        assert unknown.status == 404
        hide = ("request_id",)
        assert {k: v for k, v in foreign.body.items() if k not in hide} == {
            k: v for k, v in unknown.body.items() if k not in hide
        }
    assert await snapshot(platform) == before
    for listing in (
        "/stores",
        "/operations",
        "/dead-letters",
        f"/operations?store_id={store['id']}",
    ):
        assert (await nosy.get(listing)).body["data"] == []


async def snapshot(world: World) -> list[dict[str, object]]:
    return await world.fetch(
        "SELECT (SELECT json_agg(s ORDER BY s.id) FROM stores s)::text AS stores,"
        " (SELECT json_agg(o ORDER BY o.id) FROM operations o)::text AS operations,"
        " (SELECT count(*) FROM tokens WHERE revoked_at IS NULL) AS tokens,"
        " (SELECT count(*) FROM dead_letters WHERE replayed_at IS NOT NULL) AS replayed"
    )


async def test_credentials_request_is_audited(platform: World) -> None:
    """The simulated runtime has no credentials: none are returned and none are audited."""
    store = await platform.api.create_ready_store("audited")
    assert (await platform.api.post("/stores/audited/credentials")).status == 409
    assert (
        await platform.value(
            "SELECT count(*) FROM audit WHERE target = $1 AND action ~ 'reveal'", store["id"]
        )
        == 0
    )
