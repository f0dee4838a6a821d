"""Stores over HTTP: bodies, statuses, lists, and what each state allows."""

import re

import pytest

from storefleet.core.models import format_timestamp
from tests.support.http.client import Api
from tests.support.services.world import World

STORE_FIELDS = {
    *(
        "id",
        "tenant_id",
        "name",
        "engine",
        "engine_version",
        "parameters",
        "state",
        "url",
        "admin_url",
        "failure",
    ),
    *("created_at", "ready_at", "deleted_at", "version", "plan", "observed"),
}
OPERATION_FIELDS = {
    *(
        "id",
        "store_id",
        "kind",
        "state",
        "done",
        "error",
        "attempt",
        "cancel_requested",
        "request_id",
        "steps",
    ),
    *("created_at", "started_at", "finished_at", "input"),
}
STEP_FIELDS = {"name", "title", "state", "started_at", "finished_at", "message"}
PROBLEM_FIELDS = {"type", "title", "status", "code", "detail", "errors", "request_id", "retryable"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = "[a-z0-9]{16}"


async def test_store_lifecycle_over_http(platform: World) -> None:
    api = platform.api
    answer = await api.post("/stores", {"name": "whole-way"})
    assert answer.status == 202
    store, operation = answer.body["store"], answer.body["operation"]
    assert answer.body.keys() == {"store", "operation"}
    assert answer.headers["Location"] == f"/api/v1/operations/{operation['id']}"
    assert re.fullmatch(f"sto_{ID}", store["id"])
    assert re.fullmatch(f"op_{ID}", operation["id"])
    assert store.keys() == STORE_FIELDS
    assert operation.keys() == OPERATION_FIELDS
    assert (store["state"], store["version"], store["engine"]) == ("requested", 1, "shop")
    assert (operation["kind"], operation["state"], operation["done"]) == ("create", "queued", False)
    assert operation["store_id"] == store["id"]
    assert store["parameters"] == {
        "title": "A shop",
        "products": 3,
        "discount": 0.5,
        "open": True,
        "colour": "red",
    }

    ended = await api.wait_until_done(operation["id"])
    assert (ended["state"], ended["done"], ended["error"], ended["attempt"]) == (
        "succeeded",
        True,
        None,
        1,
    )
    assert [step["state"] for step in ended["steps"]] == ["succeeded"]
    assert all(step.keys() == STEP_FIELDS for step in ended["steps"])
    ready = await api.store(store["id"])
    assert ready["state"] == "ready"
    assert ready["url"] == "http://whole-way.localhost/"
    assert ready["admin_url"] == "http://whole-way.localhost/admin/"
    assert ready["version"] > store["version"]
    assert await api.store("whole-way") == ready
    for moment in (
        ready["created_at"],
        ready["ready_at"],
        ended["started_at"],
        ended["finished_at"],
    ):
        assert TIME.fullmatch(moment)

    answer = await api.delete("/stores/whole-way")
    assert answer.status == 202
    assert answer.body["store"]["state"] == "deleting"
    deletion = await api.wait_until_done(answer.body["operation"]["id"])
    assert (deletion["kind"], deletion["state"]) == ("delete", "succeeded")
    gone = await api.store(store["id"])
    assert gone["state"] == "deleted"
    assert TIME.fullmatch(gone["deleted_at"])
    assert (await api.get("/stores/whole-way")).status == 404


async def test_deleted_store_is_readable_by_id_for_seven_days(platform: World) -> None:
    store = await platform.api.create_ready_store("kept-a-week")
    await platform.api.wait_until_done(
        (await platform.api.delete("/stores/kept-a-week")).body["operation"]["id"]
    )
    age = "UPDATE stores SET deleted_at = now() - make_interval(hours => $2) WHERE id = $1"
    await platform.execute(age, store["id"], 7 * 24 - 1)
    assert (await platform.api.get(f"/stores/{store['id']}")).status == 200
    await platform.execute(age, store["id"], 7 * 24 + 1)
    assert (await platform.api.get(f"/stores/{store['id']}")).status == 404


async def test_name_of_deleted_store_is_reusable(platform: World) -> None:
    first = await platform.api.create_ready_store("phoenix")
    await platform.api.wait_until_done(
        (await platform.api.delete("/stores/phoenix")).body["operation"]["id"]
    )
    second = await platform.api.create_ready_store("phoenix")
    assert first["id"] != second["id"]
    assert (await platform.api.store("phoenix"))["id"] == second["id"]


@pytest.mark.parametrize("another_tenant", [False, True])
async def test_name_of_live_store_is_unique_across_tenants(
    platform: World, another_tenant: bool
) -> None:
    name = f"taken-{int(another_tenant)}"
    await platform.api.create(name)
    api = platform.other_api if another_tenant else platform.api
    answer = await api.post("/stores", {"name": name})
    assert answer.status == 409
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body.keys() == PROBLEM_FIELDS
    assert (answer.body["code"], answer.body["status"], answer.body["retryable"]) == (
        "name_taken",
        409,
        False,
    )
    assert answer.body["errors"][0]["pointer"] == "/name"
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "ab"}, "/name"),
        ({"name": "a" * 41}, "/name"),
        ({"name": "-abc"}, "/name"),
        ({"name": "abc-"}, "/name"),
        ({"name": "Abc"}, "/name"),
        ({"name": "a.b"}, "/name"),
        ({"name": "xn--abc"}, "/name"),
        ({"name": "a-xn--b"}, "/name"),
        *(({"name": name}, "/name") for name in ("www", "api", "admin", "dashboard", "mail")),
        ({"name": 7}, "/name"),
        ({"name": None}, "/name"),
        ({}, "/name"),
        ({"name": "fine-name", "engine": "none"}, "/engine"),
        ({"name": "fine-name", "engine": 1}, "/engine"),
        ({"name": "fine-name", "parameters": []}, "/parameters"),
        ({"name": "fine-name", "parameters": {"products": 0}}, "/parameters/products"),
        ({"name": "fine-name", "parameters": {"products": "3"}}, "/parameters/products"),
        ({"name": "fine-name", "parameters": {"colour": "black"}}, "/parameters/colour"),
        ({"name": "fine-name", "parameters": {"open": 1}}, "/parameters/open"),
        ({"name": "fine-name", "parameters": {"unknown": 1}}, "/parameters"),
        ({"name": "fine-name", "surprise": 1}, "/surprise"),
    ],
)
async def test_validation_errors_name_field(
    platform: World, body: dict[str, object], pointer: str
) -> None:
    answer = await platform.api.post("/stores", body)
    assert answer.status == 422
    assert answer.body.keys() == PROBLEM_FIELDS
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]
    assert answer.body["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"name": NaN}', 400),
        (b"[" * 60_000, 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b'{"name": "a\\u0000b"}', 422),
        (b'{"name": "\\ud800abc"}', 422),
        (b'{"parameters": ' + b'{"a":' * 30 + b"1" + b"}" * 30 + b', "name": "deep-down"}', 422),
        (b'{"name": "big-number", "parameters": {"discount": 1e999}}', 422),
        (b'{"name": "' + b"a" * 65_536 + b'"}', 413),
    ],
)
async def test_malformed_bodies_are_rejected(platform: World, body: bytes, status: int) -> None:
    answer = await platform.api.call(
        "POST", "/api/v1/stores", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == status, answer.text
    assert answer.body["status"] == status
    assert answer.body["code"]


async def test_list_pages_are_newest_first(platform: World) -> None:
    created = [
        (await platform.api.create_ready_store(f"paged-{number}"))["id"] for number in range(5)
    ]
    seen: list[str] = []
    path = "/stores?q=paged-&limit=2"
    more = True
    while more:
        answer = await platform.api.get(path)
        assert answer.status == 200
        assert answer.body.keys() == {"data", "has_more"}
        seen += [store["id"] for store in answer.body["data"]]
        more = answer.body["has_more"]
        path = f"/stores?q=paged-&limit=2&starting_after={seen[-1]}"
        assert len(seen) <= 5
    assert seen == created[::-1]
    everything = await platform.api.get("/stores?limit=100")
    moments = [store["created_at"] for store in everything.body["data"]]
    assert moments == sorted(moments, reverse=True)


async def test_list_includes_deleted_stores_on_request(platform: World) -> None:
    kept, gone = (
        await platform.api.create_ready_store("filter-kept"),
        await platform.api.create_ready_store("filter-gone"),
    )
    await platform.api.wait_until_done(
        (await platform.api.delete("/stores/filter-gone")).body["operation"]["id"]
    )

    async def ids(query: str) -> list[str]:
        return [
            store["id"]
            for store in (await platform.api.get(f"/stores?q=filter-{query}")).body["data"]
        ]

    assert await ids("") == [kept["id"]]
    assert await ids("&state=ready") == [kept["id"]]
    assert await ids("&state=deleted") == [gone["id"]]
    assert await ids("&state=failed") == []
    assert await ids("%25") == []  # no wildcards in a search


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=٣"),
        *(
            "state=nowhere",
            "starting_after=x",
            "starting_after=op_aaaaaaaaaaaaaaaa",
            "starting_after=",
        ),
        *("q=" + "a" * 101, "q=%00"),
    ],
)
async def test_invalid_query_parameters_are_rejected(platform: World, query: str) -> None:
    answer = await platform.api.get(f"/stores?{query}")
    assert answer.status == 422, answer.text
    assert answer.body["errors"]


async def test_unknown_cursor_ends_list(platform: World) -> None:
    answer = await platform.api.get("/stores?starting_after=sto_aaaaaaaaaaaaaaaa")
    assert answer.body == {"data": [], "has_more": False}


async def test_idempotency_key_returns_first_answer(
    platform: World,
) -> None:
    headers = {"Idempotency-Key": "order-1"}
    body = {"name": "only-once", "parameters": {"products": 5}}
    first = await platform.api.post("/stores", body, headers=headers)
    await platform.api.wait_until_done(first.body["operation"]["id"])
    again = await platform.api.post("/stores", dict(reversed(body.items())), headers=headers)
    assert (first.status, again.status) == (202, 202)
    assert again.body == first.body
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"

    other_body = await platform.api.post("/stores", {"name": "another-one"}, headers=headers)
    assert other_body.status == 422
    assert other_body.body["code"] == "idempotency_key_reused"
    other_tenant = await platform.other_api.post(
        "/stores", {"name": "another-one"}, headers=headers
    )
    assert other_tenant.status == 202
    for wrong in ("", "a" * 256, "a b", "ä"):
        refused = await platform.api.post(
            "/stores", {"name": "no-key"}, headers={"Idempotency-Key": wrong}
        )
        assert refused.status == 422, wrong
        assert refused.body["code"] == "idempotency_key_invalid"


async def test_rejected_create_does_not_consume_idempotency_key(platform: World) -> None:
    headers = {"Idempotency-Key": "second-thought"}
    assert (await platform.api.post("/stores", {"name": "no"}, headers=headers)).status == 422
    assert (
        await platform.api.post("/stores", {"name": "second-thought"}, headers=headers)
    ).status == 202


async def test_events_are_listed_newest_first(platform: World) -> None:
    store = await platform.api.create_ready_store("storied")
    await platform.api.wait_until_done(
        (await platform.api.delete("/stores/storied")).body["operation"]["id"]
    )
    await platform.wait_until_settled()
    answer = await platform.api.get(f"/stores/{store['id']}/events?limit=100")
    assert answer.status == 200
    events = answer.body["data"]
    assert [event["type"] for event in events][::-1] == [
        *(
            "store.requested",
            "store.provisioning",
            "store.ready",
            "store.deleting",
            "store.step",
            "store.deleted",
        )
    ]
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(seqs, reverse=True)
    for event in events:
        assert event.keys() == {"seq", "id", "type", "time", "store_id", "operation_id", "data"}
        assert {"id", "name", "state", "version", "url", "admin_url", "failure"} <= event["data"][
            "store"
        ].keys()
        assert event["data"]["operation"].keys() == OPERATION_FIELDS
        assert TIME.fullmatch(event["time"])
    page = await platform.api.get(f"/stores/{store['id']}/events?limit=4")
    rest = await platform.api.get(
        f"/stores/{store['id']}/events?starting_after={page.body['data'][-1]['id']}"
    )
    assert page.body["has_more"] is True
    assert rest.body["has_more"] is False
    assert page.body["data"] + rest.body["data"] == events


async def test_logs_are_returned_as_lines(platform: World) -> None:
    await platform.api.create_ready_store("talkative")
    answer = await platform.api.get("/stores/talkative/logs?tail=5")
    assert answer.status == 200
    assert answer.body["data"] == ["talkative is simulated and has no log."]
    assert (await platform.api.get("/stores/talkative/logs?tail=1001")).status == 422


async def test_store_without_admin_has_no_credentials(platform: World) -> None:
    await platform.api.create_ready_store("no-sign-in")
    answer = await platform.api.post("/stores/no-sign-in/credentials")
    assert (answer.status, answer.body["code"]) == (409, "no_credentials")


async def test_retry_requires_failed_store(platform: World) -> None:
    await platform.api.create_ready_store("fine-already")
    answer = await platform.api.post("/stores/fine-already/retry")
    assert (answer.status, answer.body["code"]) == (409, "not_failed")


@pytest.mark.parametrize(
    "ref", ["sto_aaaaaaaaaaaaaaaa", "nobody", "UPPER", "a%2Fb", "%00", "a" * 64, "..", "sto_x"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/retry"),
        ("POST", "/credentials"),
        ("GET", "/events"),
        ("GET", "/logs"),
        ("GET", "/mail"),
        ("GET", "/mail/1"),
    ],
)
async def test_unknown_resources_return_404(
    platform: World, ref: str, method: str, path: str
) -> None:
    from yarl import URL

    url = URL(f"{platform.url}/api/v1/stores/{ref}{path}", encoded=True)
    async with platform.session.request(
        method, url, headers={"Authorization": f"Bearer {platform.admin.token}"}
    ) as response:
        assert response.status == 404 or (ref == ".." and response.status == 405)
        assert (await response.json(content_type=None))["code"] in (
            "not_found",
            "method_not_allowed",
        )


async def test_unknown_routes_and_methods_are_problems(platform: World) -> None:
    assert (await platform.api.get("/nothing")).status == 404
    answer = await platform.api.call("PUT", "/api/v1/stores")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) >= {"GET", "POST"}
    assert answer.body["code"] == "method_not_allowed"


async def test_engines_are_listed(platform: World) -> None:
    answer = await platform.api.get("/engines")
    assert answer.status == 200
    engine = next(engine for engine in answer.body["data"] if engine["name"] == "shop")
    assert engine["title"] == "Test shop"
    assert engine["versions"][0] == {"version": "1.0.0", "notes": "First version."}
    assert engine["parameters"]["properties"]["products"]["maximum"] == 50


async def test_me_describes_principal(platform: World) -> None:
    mine, others = (await platform.api.get("/me")).body, (await platform.other_api.get("/me")).body
    assert (mine["tenant"], mine["email"], mine["operator"]) == (
        platform.admin.tenant_id,
        "admin@example.com",
        True,
    )
    assert (others["tenant"], others["operator"]) == (platform.other.tenant_id, False)
    assert "operator" in mine["scopes"]
    assert "operator" not in others["scopes"]


async def test_openapi_document_names_every_route(platform: World) -> None:
    answer = await Api(platform.session, platform.url, None).get("/openapi.json")
    assert answer.status == 200
    assert answer.body["openapi"].startswith("3.1")


async def test_request_id_is_kept_or_generated(platform: World) -> None:
    given = await platform.api.get("/me", headers={"X-Request-Id": "my-request-0001"})
    assert given.headers["X-Request-Id"] == "my-request-0001"
    for wrong in ("short", "a" * 65, "with space in", "ü" * 10):
        made = await platform.api.get("/me", headers={"X-Request-Id": wrong})
        assert made.headers["X-Request-Id"].startswith("req_")
    accepted = await platform.api.post(
        "/stores", {"name": "traced"}, headers={"X-Request-Id": "my-request-0002"}
    )
    row = await platform.fetch(
        "SELECT request_id FROM operations WHERE id = $1", accepted.body["operation"]["id"]
    )
    assert row == [{"request_id": "my-request-0002"}]


async def test_health_readiness_and_metrics_are_served(platform: World) -> None:
    await platform.api.create_ready_store("measured")
    for service, port in platform.port.items():
        base = Api(platform.session, f"http://127.0.0.1:{port}", None)
        health = await base.call("GET", "/healthz")
        assert (health.status, health.body) == (200, {"status": "ok"})
        ready = await base.call("GET", "/readyz")
        assert ready.status == 200, (service, ready.text)
        assert ready.body["status"] == "ok"
        assert set(ready.body["parts"].values()) == {"ok"}
    metrics = (await platform.api.call("GET", "/metrics")).text
    for name in (
        *(
            'storefleet_stores{state="ready"}',
            "storefleet_http_requests_total",
            "storefleet_admissions_total",
        ),
        *("storefleet_operations_total", "storefleet_operation_seconds", "storefleet_step_seconds"),
        *(
            "storefleet_retries_total",
            "storefleet_dead_letters_total",
            "storefleet_outbox_lag_seconds",
        ),
        *(
            "storefleet_command_age_seconds",
            "storefleet_websockets",
            "storefleet_operations_redispatched_total",
        ),
    ):
        assert name.removesuffix("_total") in metrics, name


def test_times_are_utc_with_z_suffix() -> None:
    assert format_timestamp(None) is None
