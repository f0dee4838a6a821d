"""The dashboard over plain HTTP, without JavaScript."""

import re

import pytest

from tests.support.http.browser import Browser, forms
from tests.support.services.world import World


def stranger(world: World) -> Browser:
    return Browser(world.session, world.url)


async def test_sign_in_and_sign_out(platform: World) -> None:
    browser = stranger(platform)
    assert (await browser.get("/")).headers["Location"] == "/stores"
    sent_away = await browser.get("/stores")
    assert (sent_away.status, sent_away.headers["Location"]) == (303, "/login")
    page = await browser.get("/login")
    assert page.status == 200
    answer = await browser.submit(
        page.text, "/login", email=platform.admin.email.upper(), password=platform.admin.password
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/stores")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie  # this address has no TLS in front
    assert browser.cookie
    assert (
        await platform.value(
            "SELECT count(*) FROM sessions WHERE hash = $1", browser.cookie.encode()
        )
        == 0
    )
    stores = await browser.get("/stores")
    assert stores.status == 200
    assert platform.admin.email in stores.text
    assert (await browser.get("/login")).headers["Location"] == "/stores"

    kept = browser.cookie
    out = await browser.submit(stores.text, "/logout")
    assert (out.status, out.headers["Location"]) == (303, "/login")
    assert browser.cookie is None
    browser.cookie = kept  # the old cookie is worthless
    assert (await browser.get("/stores")).headers["Location"] == "/login"


async def test_session_expires(platform: World) -> None:
    browser = await platform.sign_in(platform.other)
    await platform.execute(
        "UPDATE sessions SET expires_at = now() FROM users u WHERE u.id = user_id AND tenant_id = "
        "$1",
        platform.other.tenant_id,
    )
    assert (await browser.get("/stores")).status == 303
    fragment = await browser.get("/stores/table", headers={"HX-Request": "true"})
    assert fragment.status == 401


@pytest.mark.parametrize(
    ("target", "lands"),
    [
        ("/stores/new", "/stores/new"),
        ("/stores?q=a&state=ready", "/stores?q=a&state=ready"),
        *(
            (wrong, "/stores")
            for wrong in ("", "http://evil.com", "//evil.com", "/\\evil.com", "\\\\evil.com")
        ),
        *(
            (wrong, "/stores")
            for wrong in (
                "javascript:alert(1)",
                "/\t/evil.com",
                "/\n/evil.com",
                "/a\r\nX: y",
                "evil.com",
            )
        ),
        *(
            (wrong, "/stores")
            for wrong in ("/login", "/" + "a" * 600, "/a\0b", "///evil.com", " /x")
        ),
    ],
)
async def test_sign_in_redirects_to_own_pages_only(
    platform: World, target: str, lands: str
) -> None:
    browser = stranger(platform)
    form = {"email": platform.admin.email, "password": platform.admin.password, "next": target}
    answer = await browser.post("/login", form)
    assert answer.status == 303
    assert answer.headers["Location"] == lands
    again = await browser.call("GET", "/login", params={"next": target})
    assert again.headers["Location"] == lands


async def test_sign_in_redirects_to_requested_page(platform: World) -> None:
    browser = stranger(platform)
    sent = await browser.get("/stores/new?x=1&y=2")
    assert sent.headers["Location"].startswith("/login?next=")
    page = await browser.get(sent.headers["Location"])
    answer = await browser.submit(
        page.text, "/login", email=platform.admin.email, password=platform.admin.password
    )
    assert answer.headers["Location"] == "/stores/new?x=1&y=2"


async def test_failed_sign_ins_are_indistinguishable(platform: World) -> None:
    browser = stranger(platform)
    answers = [
        await browser.post("/login", {"email": email, "password": password})
        for email, password in (
            (platform.other.email, "wrong"),
            ("nobody@example.com", "wrong"),
            ("", ""),
            ("x" * 5000, "y" * 5000),
            ("'; DROP TABLE users; --", "\U0001f600"),
        )
    ]
    texts = set()
    for answer in answers:
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers
        assert 'role="alert"' in answer.text
        texts.add(re.sub(r'value="[^"]*"', "", answer.text))
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "no"}, "The name must have 3 to 40 characters."),
        ({"name": "admin"}, "The name is reserved; choose another name."),
        ({"name": "taken"}, "The name is taken."),
        ({"name": "fine", "engine": "none"}, "The engine must be one of: shop."),
        ({"name": "fine", "parameters.shop.products": "many"}, "Products: must be a whole number."),
        ({"name": "fine", "parameters.shop.products": "51"}, "Products: must be at most 50."),
        ({"name": "fine", "parameters.shop.discount": "inf"}, ""),
        ({"name": "fine", "parameters.shop.discount": "nan"}, ""),
        (
            {"name": "fine", "parameters.shop.title": "x" * 61},
            "Title: must have at most 60 characters.",
        ),
        ({"name": "<script>alert(1)</script>"}, "&lt;script&gt;"),
    ],
)
async def test_form_errors_are_shown_beside_input(
    platform: World, fields: dict[str, str], says: str
) -> None:
    await platform.other_api.post("/stores", {"name": "taken"})
    browser = await platform.sign_in()
    page = await browser.get("/stores/new")
    answer = await browser.submit(page.text, "/stores/new", **fields)
    assert answer.status == 422
    assert says in answer.text.replace("&#39;", "'")
    assert "<script>alert" not in answer.text
    form = next(form for form in forms(answer.text) if form.action == "/stores/new")
    for name, value in fields.items():
        if name != "engine":
            assert form.fields[name] == value


POSTS = [
    *(
        "/stores/new",
        "/stores/{store}/delete",
        "/stores/{store}/retry",
        "/stores/{store}/credentials",
    ),
    *(
        "/stores/{store}/upgrade",
        "/stores/{store}/rollback",
        "/operations/{operation}/cancel",
        "/logout",
    ),
]


@pytest.mark.parametrize("path", POSTS)
async def test_cross_site_forms_are_rejected(platform: World, path: str) -> None:
    name = "guarded-" + re.sub(r"[^a-z]", "", path)[:20]
    accepted = (await platform.api.post("/stores", {"name": name})).body
    if "store" not in accepted:
        accepted = {
            "store": await platform.api.store(name),
            "operation": {"id": "op_aaaaaaaaaaaaaaaa"},
        }
    address = path.format(store=accepted["store"]["id"], operation=accepted["operation"]["id"])
    browser = await platform.sign_in()
    page = (await browser.get("/stores/new")).text
    csrf = next(form for form in forms(page) if form.action == "/logout").fields["csrf_token"]
    other = (await (await platform.sign_in()).get("/stores/new")).text
    foreign_csrf = next(form for form in forms(other) if form.action == "/logout").fields[
        "csrf_token"
    ]
    fields = {"name": "never-made", "confirm": name}
    before = await platform.fetch("SELECT id, version FROM stores ORDER BY id")
    for token in (None, "", "x", foreign_csrf, csrf + "x", csrf[:-1], "ä" * 32):
        sent = fields if token is None else {**fields, "csrf_token": token}
        answer = await browser.post(address, sent)
        assert answer.status == 403, token
        assert "csrf" in answer.text
    for origin in (
        "null",
        "http://evil.com",
        "http://127.0.0.1",
        platform.url + ".evil.com",
        "http://[",
    ):
        answer = await browser.post(
            address, {**fields, "csrf_token": csrf}, headers={"Origin": origin}
        )
        assert answer.status == 403, origin
        assert "foreign_origin" in answer.text
    browser.origin = None
    answer = await browser.post(
        address, {**fields, "csrf_token": csrf}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status == 403
    assert [row["id"] for row in before] == [
        r["id"] for r in await platform.fetch("SELECT id FROM stores ORDER BY id")
    ]
    browser.origin = platform.url
    nobody = stranger(platform)
    assert (await nobody.post(address, {**fields, "csrf_token": csrf})).status == 303
    assert (await browser.get("/stores")).status == 200


async def test_cross_site_sign_in_is_rejected(platform: World) -> None:
    browser = stranger(platform)
    browser.origin = "http://evil.com"
    form = {"email": platform.admin.email, "password": platform.admin.password}
    assert (await browser.post("/login", form)).status == 403
    assert browser.cookie is None


async def test_api_session_requires_csrf_protection(platform: World) -> None:
    browser = await platform.sign_in()
    page = (await browser.get("/stores")).text
    csrf = forms(page)[0].fields["csrf_token"]
    json_ = {"name": "by-session"}
    read = await browser.get("/api/v1/stores", headers={"Accept": "application/json"})
    assert read.status == 200
    assert (await browser.call("POST", "/api/v1/stores", json=json_)).status == 403
    wrong = await browser.call("POST", "/api/v1/stores", json=json_, headers={"X-CSRF-Token": "x"})
    assert wrong.status == 403
    elsewhere = {"X-CSRF-Token": csrf, "Origin": "http://evil.com"}
    assert (
        await browser.call("POST", "/api/v1/stores", json=json_, headers=elsewhere)
    ).status == 403
    assert (
        await browser.call("POST", "/api/v1/stores", json=json_, headers={"X-CSRF-Token": csrf})
    ).status == 202


async def test_token_requires_no_csrf_protection(platform: World) -> None:
    headers = {"Origin": "http://evil.com", "Sec-Fetch-Site": "cross-site"}
    assert (await platform.api.post("/stores", {"name": "by-token"}, headers=headers)).status == 202


async def test_pages_have_security_headers(platform: World) -> None:
    store = await platform.api.create_ready_store("headed")
    browser = await platform.sign_in()
    pages = (
        "/stores",
        "/stores/new",
        f"/stores/{store['id']}",
        f"/stores/{store['id']}/live",
        "/nowhere",
    )
    answers = [*[await browser.get(page) for page in pages], await stranger(platform).get("/login")]
    for answer in answers:
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert policy["base-uri"] == "'none'"
        assert policy["connect-src"] == f"'self' ws://127.0.0.1:{platform.port['notifier']}"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\bsrc=)|\bon[a-z]+=\"|\bstyle=\"", answer.text)
        assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=\"(?:https?:)?//", answer.text)
        assert platform.admin.token not in answer.text
    localhost = await browser.get(
        "/stores", headers={"Host": f"localhost:{platform.port['gateway']}"}
    )
    assert (
        f"connect-src 'self' ws://localhost:{platform.port['notifier']};"
        in localhost.headers["Content-Security-Policy"]
    )


async def test_invalid_host_header_is_not_in_policy(platform: World) -> None:
    browser = stranger(platform)
    for host in ("evil.com; script-src *", "a b", "x'y", "[::1", "ä.com", "%00", "*", ""):
        answer = await browser.get("/login", headers={"Host": host})
        assert answer.status in (200, 400), host
        if answer.status == 200:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.count(";") == 9, policy
            assert "*" not in policy


async def test_errors_are_html_or_problem_json(platform: World) -> None:
    browser = await platform.sign_in()
    page = await browser.get("/stores/sto_aaaaaaaaaaaaaaaa")
    assert page.status == 404
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["X-Request-Id"] in page.text
    for headers in ({"Accept": "*/*"}, {"Accept": "text/html", "HX-Request": "true"}):
        problem = await browser.get("/stores/sto_aaaaaaaaaaaaaaaa", headers=headers)
        assert problem.status == 404
        assert problem.headers["Content-Type"].startswith("application/problem+json")
    method = await browser.call("PATCH", "/stores")
    assert method.status == 405


async def test_pages_of_other_tenant_return_404(platform: World) -> None:
    store = await platform.other_api.create_ready_store("not-yours")
    operation = (await platform.other_api.get("/operations")).body["data"][0]
    browser = await platform.sign_in()
    csrf = {"csrf_token": forms((await browser.get("/stores")).text)[0].fields["csrf_token"]}
    for path in ("", "/live"):
        assert (await browser.get(f"/stores/{store['id']}{path}")).status == 404
        assert (await browser.get(f"/stores/not-yours{path}")).status == 404
    for path in ("delete", "retry", "credentials", "upgrade", "rollback"):
        answer = await browser.post(
            f"/stores/{store['id']}/{path}", {**csrf, "confirm": "not-yours"}
        )
        assert answer.status == 404
    assert (await browser.post(f"/operations/{operation['id']}/cancel", csrf)).status == 404
    assert "not-yours" not in (await browser.get("/stores")).text
    assert (await platform.other_api.store("not-yours"))["state"] == "ready"
