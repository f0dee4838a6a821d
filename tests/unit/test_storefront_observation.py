"""The observation of a store: its class, and the comparison with a baseline."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from storefleet.core.observed import StorefrontClass
from storefleet.engines.descriptor import Engine
from storefleet.engines.store_pages import ClosedPage, StorefrontPage
from storefleet.runtimes.storefront_check import StorefrontCheck
from storefleet.runtimes.storefront_observation import (
    CheckResult,
    PageAnswer,
    StorefrontObservation,
    carry_over_baseline,
    classify_storefront,
    list_regressions,
    parse_baseline,
)
from tests.support.cluster.samples import pocket
from tests.support.stores.owned_store import HOST, OwnedStore, run_owned_store

SERVING, CLOSED, PROTECTED, DOWN = (
    StorefrontClass.SERVING,
    StorefrontClass.CLOSED_BY_OWNER,
    StorefrontClass.PROTECTED,
    StorefrontClass.DOWN,
)
PASSES = CheckResult(label="database", path="/health", expect="ok")
FAILS = PASSES.model_copy(update={"problem": "answers 500"})
PASSWORD_PAGE = b"<input name=x type='password'>"


@pytest_asyncio.fixture
async def store() -> AsyncIterator[OwnedStore]:
    async with run_owned_store() as store:
        yield store


@pytest_asyncio.fixture
async def check() -> AsyncIterator[StorefrontCheck]:
    async with StorefrontCheck().open_resources() as check:
        yield check


def closable() -> Engine:
    closed = ClosedPage(path="/storefleet/health", expect='"storefront":"closed"')
    return pocket().model_copy(update={"storefront": StorefrontPage(path="/", closed=closed)})


async def observe(check: StorefrontCheck, store: OwnedStore, **how: Any) -> StorefrontObservation:
    return await check.observe(closable(), server=store.server, host=HOST, request_id="op_1", **how)


@pytest.mark.parametrize(
    ("front", "is_closed", "result", "expected"),
    [
        (PageAnswer(200), False, PASSES, SERVING),
        (PageAnswer(404), False, PASSES, SERVING),
        (PageAnswer(410), False, PASSES, SERVING),
        (PageAnswer(301, path="https://other/", is_redirected=True), False, PASSES, SERVING),
        (PageAnswer(401), False, PASSES, PROTECTED),
        (PageAnswer(403), True, PASSES, PROTECTED),
        (PageAnswer(401), False, FAILS, PROTECTED),
        (PageAnswer(200, path="/wp-login.php", is_redirected=True), False, PASSES, PROTECTED),
        (PageAnswer(200, path="/accounts/login/?next=/", is_redirected=True), 0, PASSES, PROTECTED),
        (PageAnswer(200, PASSWORD_PAGE, "/secret-door/", True), False, PASSES, PROTECTED),
        (PageAnswer(200, PASSWORD_PAGE), False, PASSES, SERVING),
        (PageAnswer(200, path="/blog/", is_redirected=True), False, PASSES, SERVING),
        (PageAnswer(200, path="/catalogin/", is_redirected=True), False, PASSES, SERVING),
        (PageAnswer(503), False, PASSES, CLOSED),
        (PageAnswer(503), False, FAILS, DOWN),
        (PageAnswer(200), True, PASSES, CLOSED),
        (PageAnswer(200), True, FAILS, DOWN),
        (PageAnswer(500), True, PASSES, DOWN),
        (PageAnswer(500), False, PASSES, DOWN),
        (PageAnswer(502), False, PASSES, DOWN),
        (PageAnswer(200), False, FAILS, DOWN),
        (PageAnswer(problem="does not answer (TimeoutError)"), False, PASSES, DOWN),
        (PageAnswer(302, problem="redirects more than 5 times"), False, PASSES, DOWN),
    ],
)
def test_front_page_and_checks_decide_class(
    front: PageAnswer, is_closed: bool, result: CheckResult, expected: StorefrontClass
) -> None:
    assert classify_storefront(front, is_closed=is_closed, checks=[result]) is expected


Change = Callable[[OwnedStore], object]
#: What owners do to a store, and the class that it then has.
OWNERS: dict[str, tuple[Change, StorefrontClass]] = {
    "nothing": (lambda _: None, SERVING),
    "product deleted": (lambda s: s.put("/", "No products"), SERVING),
    "front page renamed": (lambda s: s.put("/", "Not found", 404), SERVING),
    "front page moved": (lambda s: (s.redirect("/", "/en/"), s.put("/en/", "Hello")), SERVING),
    "front page elsewhere": (lambda s: s.redirect("/", "https://other.example/"), SERVING),
    "closed in the engine": (lambda s: s.set_health("open", "closed"), CLOSED),
    "maintenance page": (lambda s: s.close_with_gate(503, "Back soon"), CLOSED),
    "password gate": (lambda s: s.close_with_gate(401), PROTECTED),
    "forbidden": (lambda s: s.close_with_gate(403), PROTECTED),
    "redirect to sign-in": (lambda s: s.close_with_gate(302, "", "/enter/"), PROTECTED),
    "another sign-in": (lambda s: s.redirect("/admin/", "/door/"), SERVING),
    "admin hidden": (lambda s: s.put("/admin/", "Not found", 404), SERVING),
    "redirect loop": (lambda s: s.redirect("/", "/"), DOWN),
    "error": (lambda s: s.put("/", "Fatal error", 500), DOWN),
    "database": (lambda s: s.set_health("ok", "failed"), DOWN),
}


@pytest.mark.parametrize("what", OWNERS)
async def test_owner_change_sets_class_and_compares_equal(
    check: StorefrontCheck, store: OwnedStore, what: str
) -> None:
    change, expected = OWNERS[what]
    change(store)
    before = await observe(check, store)
    assert before.storefront is expected, before.summary
    assert list_regressions(before, await observe(check, store)) == []
    stored = StorefrontObservation.model_validate_json(before.model_dump_json())
    assert stored == before


#: Changes that leave every page answering in its class.
UNSEEN = ("nothing", "product deleted", "front page moved")


@pytest.mark.parametrize("what", [each for each in OWNERS if each not in UNSEEN])
async def test_same_change_by_release_is_regression(
    check: StorefrontCheck, store: OwnedStore, what: str
) -> None:
    before = await observe(check, store)
    OWNERS[what][0](store)
    assert list_regressions(before, await observe(check, store)), what


@pytest.mark.parametrize("what", OWNERS)
async def test_same_change_under_proven_code_is_the_owners(
    check: StorefrontCheck, store: OwnedStore, what: str
) -> None:
    """A version that served the store before may answer otherwise, but it has to answer."""
    change, expected = OWNERS[what]
    before = await observe(check, store)
    change(store)
    after = await observe(check, store)
    found = list_regressions(before, after, is_proven_code=True)
    assert bool(found) == (expected is DOWN), what


@pytest.mark.parametrize(
    ("path", "is_sign_in"),
    [
        ("/wp-login.php", True),
        ("/accounts/login/", True),
        ("/wp-login.php?redirect_to=%2F", True),
        ("/password", True),
        ("/en/sign-in", True),
        ("/?redirected_from=login", False),
        ("/product/password-manager/", False),
        ("/blog/log-in-the-woods/", False),
    ],
)
def test_sign_in_page_is_known_by_last_part_of_path(path: str, is_sign_in: bool) -> None:
    assert PageAnswer(200, b"", path, is_redirected=True).is_sign_in is is_sign_in


@pytest.mark.parametrize("part", [b"<input ", b"<input type ", b"<input type=" + b" " * 400])
def test_hostile_page_is_searched_in_time(part: bytes) -> None:
    answer = PageAnswer(200, part * (2_000_000 // len(part)), "/x/", is_redirected=True)
    started = time.process_time()
    assert not answer.is_sign_in
    assert time.process_time() - started < 1


async def test_store_that_was_down_is_not_compared(
    check: StorefrontCheck, store: OwnedStore
) -> None:
    store.put("/", "Fatal error", 500)
    before = await observe(check, store)
    assert not before.is_comparable
    store.health = '{"database":"failed"}'
    assert list_regressions(before, await observe(check, store)) == []


async def test_failing_check_is_not_asked_again_and_others_are(
    check: StorefrontCheck, store: OwnedStore
) -> None:
    """A store whose check failed before keeps its front page and its admin."""
    store.health = '{"database":"failed"}'
    before = await observe(check, store)
    assert before.storefront is DOWN
    assert list_regressions(before, await observe(check, store)) == []
    store.put("/", "Fatal error", 500)
    (found,) = list_regressions(before, await observe(check, store))
    assert found == "The front page answered 2xx before and now answers 500."


async def test_regressions_name_check_and_answer(check: StorefrontCheck, store: OwnedStore) -> None:
    before = await observe(check, store)
    store.health = '{"database":"failed"}'
    store.put("/admin/login/", "Fatal error", 500)
    assert list_regressions(before, await observe(check, store)) == [
        'The check “database” passed before and now does not show “"database":"ok"”.',
        "The admin page answered 2xx before and now answers 500.",
    ]


async def test_requests_are_few_and_carry_cookies_along_redirects(
    check: StorefrontCheck, store: OwnedStore
) -> None:
    await observe(check, store)
    assert sorted(store.requests) == [
        ("/", ""),
        ("/admin/", ""),
        ("/admin/login/", "seen=1"),
        ("/storefleet/health", ""),
    ]
    store.requests.clear()
    observation = await observe(check, store, with_admin=False)
    assert sorted(path for path, _ in store.requests) == ["/", "/storefleet/health"]
    assert observation.admin_status == ""
    store.requests.clear()
    store.redirect("/", "/")
    await observe(check, store, with_admin=False)
    assert [path for path, _ in store.requests].count("/") == 6


async def test_redirects_of_any_form_stay_bounded_and_on_host(
    check: StorefrontCheck, store: OwnedStore
) -> None:
    other = "http://other.localhost:8080/x"
    for location in ("//", "http://[", other, "/é/ü?a=b c", "javascript:x"):
        store.redirect("/", location)
        assert (await observe(check, store)).storefront in (SERVING, DOWN), location
    store.redirect("/", f"http://{HOST.replace(':8080', '')}/moved")
    store.put("/moved", "Here", 200)
    assert (await observe(check, store)).storefront_text == "answers 200"


async def test_unreachable_store_is_down(check: StorefrontCheck) -> None:
    observation = await check.observe(
        pocket(), server="http://127.0.0.1:1", host=HOST, request_id="op_1"
    )
    assert observation.storefront is DOWN
    assert observation.storefront_status == "none"
    assert "does not answer" in observation.summary


def seen(storefront: StorefrontClass, status: str = "2xx", *checks: CheckResult) -> Any:
    return StorefrontObservation(
        storefront=storefront, storefront_status=status, checks=checks or (PASSES,)
    )


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (seen(SERVING), seen(CLOSED, "5xx"), seen(CLOSED, "5xx")),
        (seen(SERVING), seen(PROTECTED, "4xx"), seen(PROTECTED, "4xx")),
        (seen(CLOSED), seen(SERVING), seen(SERVING)),
        (seen(PROTECTED, "4xx"), seen(CLOSED), seen(CLOSED)),
        (seen(SERVING), seen(SERVING, "4xx"), seen(SERVING)),
        (seen(SERVING), seen(DOWN, "5xx"), seen(SERVING)),
        (seen(SERVING), seen(CLOSED, "2xx", FAILS), seen(SERVING)),
        (seen(SERVING, "2xx", FAILS), seen(CLOSED, "5xx"), seen(CLOSED, "5xx", FAILS)),
        (seen(DOWN, "5xx"), seen(SERVING), seen(SERVING)),
    ],
)
def test_retry_expects_owner_switch_and_otherwise_the_old_baseline(
    before: StorefrontObservation, now: StorefrontObservation, expected: StorefrontObservation
) -> None:
    assert carry_over_baseline(before, now) == expected


def test_observation_without_pages_compares_checks_only() -> None:
    baseline = seen(PROTECTED, "4xx").without_pages()
    assert baseline.is_comparable
    assert list_regressions(baseline, seen(DOWN, "5xx")) == []
    (found,) = list_regressions(baseline, seen(SERVING, "2xx", FAILS))
    assert found == "The check “database” passed before and now answers 500."


def test_recorded_baseline_is_read_or_ignored() -> None:
    baseline = seen(SERVING)
    assert parse_baseline(baseline.model_dump(mode="json")) == baseline
    assert parse_baseline(None) is None
    assert parse_baseline({"storefront": "sleeping"}) is None
