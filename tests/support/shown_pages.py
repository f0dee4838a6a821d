"""Every state that the dashboard can show, drawn without a server: for looking at, and for the audit of each."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from services.gateway import views
from services.gateway.pages import Assets
from storefleet import engines
from storefleet.engines import Engine, Version
from storefleet.models import Event, Failure, Operation, Step, Store
from storefleet.runtimes.base import Use
from tests.support.platform import ROOT

GATEWAY = ROOT / "services" / "gateway"
AT = datetime.fromisoformat("2026-11-20T10:00:00+00:00")
STORE = "sto_aaaaaaaaaaaaaaaa"
LONG = "a-shop-whose-name-takes-all-forty-letter"
NOTES = "WooCommerce 11.0.1 on WordPress 7.1 and PHP 8.4; storefront theme with cart and checkout blocks."
TITLES = {
    "namespace": "Prepare the namespace",
    "dump": "Save the database",
    "orders": "Look for orders since then",
    "stop": "Close the shop",
    "restore": "Put the saved database back",
    "release": "Install the version",
    "start": "Start the shop",
    "prove": "Prove that the shop is shown",
    "return-release": "Install the version from before",
    "return-start": "Start the shop as before",
    "return-prove": "Prove that the shop is shown",
}
MESSAGES = {"dump": "1.4 MB saved", "release": "Release 3 is installed", "start": "2 of 2 pods are ready"}
CRASHED = Failure(
    code="shop_crashes",
    detail="The shop of 11.0.2 ended with exit code 255, three times: PHP Fatal error: Uncaught Error: Call to undefined"
    " function wc_get_container() in /srv/shop/wp-content/plugins/woocommerce/woocommerce.php:43."
    " The store is back on 11.0.1.",
    step="start",
    next="Try the version on a store without customers, or wait for the next one.",
)
LOST = Failure(
    code="orders_would_go",
    detail="3 orders were placed since the database was saved: #1042 for 84.00 EUR at 2026-11-20 11:02, #1043 for 12.50"
    " EUR at 2026-11-20 11:15, #1044 for 230.00 EUR at 2026-11-20 12:40.",
    step="orders",
    next='Repeat with "discard_orders": true, or roll back without restore.',
)
STUCK = Failure(
    code="return_failed",
    detail="The upgrade to 11.0.2 failed (shop_crashes), and so did the way back to 11.0.1: the cluster has no room for"
    " another pod: 0/1 nodes are available: 1 Insufficient memory.",
    step="return-start",
    next="Make room on the node, then retry: the store goes back to 11.0.1.",
)
USES = (
    *(Use("requests.cpu", "110m", "200m", 0.55), Use("limits.memory", "640Mi", "768Mi", 0.83)),
    *(Use("requests.storage", "2Gi", "2Gi", 1.0), Use("pods", "2", "4", 0.5)),
)


class Shown(NamedTuple):
    """One page in one state."""

    template: str
    context: dict[str, Any]


def environment() -> jinja2.Environment:
    """As the gateway makes it."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(GATEWAY / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.globals["asset"] = Assets(GATEWAY / "static" / "dist")
    return made


def drawn() -> Iterator[tuple[str, str]]:
    """Name and HTML of each state."""
    templates = environment()
    for name, shown in states().items():
        yield name, templates.get_template(shown.template).render(_frame() | shown.context)


def states() -> dict[str, Shown]:
    return {**_others(), **_lists(), **_forms(), **_stores()}


def _frame() -> dict[str, Any]:
    return {
        "me": {"email": "owner@example.com", "tenant": "ten_a", "tenant_name": "Acme", "operator": True},
        "csrf": "a-token",
        "live": None,
        "request_id": "req_9421b2069d8a3c48e630",
        "domain": "shops.example.com",
        "quota": {"hour_limit": 30, "hour_left": 12, "stores_limit": 100, "stores_left": 88},
        "errors": [],
        "form": {},
    }


def catalogue(*, versions: int = 3, plans: bool = True) -> Engine:
    """An engine with versions before and after the store's, and plans as those of Oscar."""
    oscar = next(iter(engines.load([ROOT / "charts"], runtime="kubernetes")))
    assert oscar.kubernetes is not None
    small = oscar.kubernetes.plans["small"]
    sizes = {
        name: small.model_copy(
            update={"title": title, "quota": {**small.quota, "limits.cpu": cpu, "limits.memory": memory}}
        )
        for name, title, cpu, memory in (
            *(("small", "Small", "4", "768Mi"), ("medium", "Medium", "6", "1536Mi")),
            ("large", "Large", "8", "3Gi"),
        )
    }
    known = (
        Version(version="11.0.1", notes=NOTES, image="x"),
        Version(version="11.0.2", notes="Corrections of the checkout; faster product search.", image="x"),
        Version(version="10.9.0", notes="The last of the 10 series.", image="x"),
    )
    made = oscar.model_copy(
        update={
            "name": "woocommerce",
            "title": "WooCommerce",
            "summary": "WordPress with WooCommerce: the most used shop there is, with thousands of extensions.",
            "versions": known[:versions],
            "default_version": "11.0.1",
            "kubernetes": oscar.kubernetes.model_copy(update={"plans": sizes}),
            "planned": plans,
        }
    )
    return made


def store(state: str, **fields: Any) -> Store:
    return Store.model_validate(
        {
            **{"id": STORE, "tenant_id": "ten_a", "name": "green-garden", "engine": "woocommerce"},
            **{"engine_version": "11.0.1", "plan": "small", "parameters": {"title": "Green Garden", "currency": "EUR"}},
            **{"state": state, "url": "http://green-garden.shops.example.com/", "failure": None, "version": 7},
            **{"admin_url": "http://green-garden.shops.example.com/wp-admin/", "created_at": AT},
            **{"ready_at": AT + timedelta(seconds=13.4), "deleted_at": None},
            **fields,
        }
    )


def operation(kind: str, state: str, steps: str, *, error: Failure | None = None, **asked: Any) -> Operation:
    """`steps` as "dump+ release! start return-release* return-start": done, failed, cancelled (-), running."""
    done = state in ("succeeded", "failed", "cancelled")
    return Operation.model_validate(
        {
            **{"id": "op_bbbbbbbbbbbbbbbb", "tenant_id": "ten_a", "store_id": STORE, "kind": kind, "state": state},
            **{"error": error, "attempt": 1, "cancel_requested": False, "fence": 1, "created_at": AT},
            **{"request_id": "req_0d6c1a7c4f2e9b8a5d30", "deadline": AT + timedelta(minutes=15), "run_after": AT},
            **{"started_at": AT, "finished_at": AT + timedelta(seconds=21.3) if done else None},
            **{"input": asked, "steps": [_step(n, text, error) for n, text in enumerate(steps.split())]},
        }
    )


def _step(number: int, text: str, error: Failure | None) -> Step:
    name = text.rstrip("+!*-")
    state = {"+": "succeeded", "!": "failed", "*": "running", "-": "cancelled"}.get(text[len(name) :], "pending")
    begun = AT + timedelta(seconds=4 * number)
    message = MESSAGES.get(name, "") if state == "succeeded" else error.detail if error and state == "failed" else ""
    return Step.model_validate(
        {
            **{"name": name, "title": TITLES[name], "state": state, "message": message},
            "started_at": None if state == "pending" else begun,
            "finished_at": begun + timedelta(seconds=3.6) if state in ("succeeded", "failed", "cancelled") else None,
        }
    )


def page(shown: Store, last: Operation | None, **more: Any) -> Shown:
    """The page of a store, with what its latest operation says."""
    versions = views.versions(
        shown, more.pop("engine", catalogue()), way_back=more.pop("back", None), why_not=more.pop("why_not", None)
    )
    uses = more.pop("uses", USES)
    context: dict[str, Any] = {
        "store": shown.to_json(),
        "operation": views.operation(last),
        "events": [views.event(event) for event in _events(shown, last)],
        "logs": [f"10.20.0.7 - - [20/Nov/2026:10:00:{n:02} +0000] GET /shop/ HTTP/1.1 200" for n in range(20)],
        "credentials": None,
        "versions": versions,
        "usage": {"plan": "small", "title": "Small", "resources": [views.use(use) for use in uses], "problem": None},
        "history": {
            "entries": [views.history_entry(e) for e in more.pop("entries", ENTRIES)],
            "older": None,
            "paged": "",
        },
        **more,
    }
    return Shown("stores/detail.html", context)


def _events(shown: Store, last: Operation | None) -> list[Event]:
    types = ("store.ready", "store.provisioning", "store.requested")
    if last and last.kind != "create":
        types = ("store.rolling_back" if last.error else "store.upgrading", *types)
    data = {"store": shown.to_json(), "operation": last.to_json() if last else {}}
    return [
        Event(
            **{"id": f"evt_{n}", "seq": 20 - n, "tenant_id": "ten_a", "store_id": STORE, "operation_id": None},
            **{"type": kind, "time": AT, "data": data},
        )
        for n, kind in enumerate(types)
    ]


def _entry(number: int, kind: str, state: str, error: Failure | None = None, **more: Any) -> dict[str, Any]:
    return {
        **{"operation_id": f"op_{number}", "kind": kind, "state": state, "from": None, "to": None, "restore": None},
        **{"plan": None, "by": {"id": "usr_a", "name": "owner@example.com"}, "created_at": "2026-11-20T10:00:00.000Z"},
        **{"finished_at": "2026-11-20T10:00:21.000Z", "error": error and error.model_dump(), **more},
    }


CREATED = _entry(1, "create", "succeeded", to="11.0.1", plan="small")
CHANGE = {"from": "11.0.1", "to": "11.0.2"}
BACK = {"from": "11.0.2", "to": "11.0.1"}
ENTRIES = (CREATED,)
FULL = (
    _entry(6, "rollback", "failed", LOST, **BACK, restore=True),
    _entry(
        5, "upgrade", "succeeded", **CHANGE, by={"id": "tok_a", "name": "deployment pipeline of the northern shops"}
    ),
    _entry(4, "upgrade", "cancelled", **CHANGE),
    _entry(3, "upgrade", "failed", CRASHED, **CHANGE),
    _entry(2, "rollback", "succeeded", **BACK, restore=False),
    CREATED,
)


def _stores() -> dict[str, Shown]:
    made = operation("create", "succeeded", "namespace+ release+ start+ prove+")
    upgraded = operation("upgrade", "succeeded", "dump+ release+ start+ prove+", **CHANGE)
    new = store("ready", engine_version="11.0.2")
    back = {**BACK, "restore": True, "discard_orders": False, "dump": "op_a"}
    code = {**back, "restore": False}
    return {
        "requested": page(
            store("requested", url=None, ready_at=None), operation("create", "queued", "namespace"), uses=()
        ),
        "provisioning": page(
            store("provisioning", url=None, ready_at=None),
            operation("create", "running", "namespace+ release* start prove"),
            uses=(),
        ),
        "ready": page(store("ready"), made),
        "ready-long": page(store("ready", name=LONG, url=f"http://{LONG}.shops.example.com/"), made, entries=FULL),
        "ready-older-history": page(
            store("ready"),
            made,
            history={"entries": [views.history_entry(e) for e in FULL], "older": "op_1", "paged": "op_9"},
        ),
        "upgrade-open": page(store("ready"), made, opened="upgrade"),
        "upgrade-refused": page(
            store("ready"),
            made,
            opened="upgrade",
            version_errors={
                "code": "not_ready",
                "detail": "The store is upgrading; only a ready one can change its version.",
                "next": "Wait until it is ready.",
            },
        ),
        "one-version": page(store("ready"), made, engine=catalogue(versions=1)),
        "local": page(
            store("ready", plan=""),
            made,
            engine=catalogue(versions=1),
            usage=None,
            why_not="A store on this machine keeps the version it was made with. Create a new one for another version, or run the platform on Kubernetes.",
        ),
        "usage-away": page(
            store("ready"),
            made,
            usage={
                "plan": "small",
                "title": "Small",
                "resources": None,
                "problem": "It cannot be read at the moment: the cluster does not answer. Nothing is lost; look again in a minute.",
            },
        ),
        "upgrading": page(
            store("upgrading"),
            operation("upgrade", "running", "dump+ release+ start* prove", **CHANGE),
            entries=(_entry(7, "upgrade", "running", **CHANGE), CREATED),
        ),
        "upgrade-queued": page(
            store("upgrading"), operation("upgrade", "queued", "dump release start prove", **CHANGE)
        ),
        "going-back": page(
            store("rolling_back"),
            operation(
                "upgrade",
                "running",
                "dump+ release+ start! prove return-release+ return-start* return-prove",
                error=CRASHED,
                **CHANGE,
            ),
        ),
        "upgrade-failed": page(
            store("ready"),
            operation(
                "upgrade",
                "failed",
                "dump+ release+ start! prove return-release+ return-start+ return-prove+",
                error=CRASHED,
                **CHANGE,
            ),
            entries=FULL,
        ),
        "upgrade-cancelled": page(
            store("ready"),
            operation(
                "upgrade",
                "failed",
                "dump+ release- start prove return-release+ return-start+ return-prove+",
                error=Failure(
                    code="cancelled",
                    detail="The upgrade was cancelled. The store is back on 11.0.1.",
                    next="Upgrade again whenever you like.",
                ),
                **CHANGE,
            ),
        ),
        "return-failed": page(
            store("failed", failure=STUCK),
            operation(
                "upgrade",
                "failed",
                "dump+ release+ start! prove return-release+ return-start! return-prove",
                error=STUCK,
                **CHANGE,
            ),
        ),
        "upgraded": page(new, upgraded, back=upgraded, entries=FULL[1:]),
        "rollback-open": page(new, upgraded, back=upgraded, opened="rollback", form={"restore": "true"}),
        "rolling-back": page(
            store("rolling_back", engine_version="11.0.2"),
            operation("rollback", "running", "orders+ stop+ restore* release start prove", **back),
        ),
        "rolling-back-code": page(
            store("rolling_back", engine_version="11.0.2"),
            operation("rollback", "running", "release+ start* prove", **code),
        ),
        "orders-would-go": page(
            new,
            operation("rollback", "failed", "orders! stop restore release start prove", error=LOST, **back),
            back=upgraded,
            entries=FULL,
        ),
        "rollback-failed": page(
            store("failed", engine_version="11.0.2", failure=STUCK),
            operation("rollback", "failed", "release+ start! prove", error=STUCK, **code),
        ),
        "rolled-back": page(store("ready"), operation("rollback", "succeeded", "release+ start+ prove+", **code)),
        "failed": page(
            store("failed", url=None, ready_at=None, failure=STUCK),
            operation("create", "failed", "namespace+ release+ start! prove", error=STUCK),
            entries=(),
        ),
        "credentials": page(
            store("ready"),
            made,
            credentials={
                "admin_url": "http://green-garden.shops.example.com/wp-admin/",
                "username": "admin",
                "password": "correct-horse-battery",
            },
        ),
        "delete-refused": page(
            store("ready"),
            made,
            errors=[{"pointer": "/confirm", "detail": "Type “green-garden” to confirm."}],
            form={"confirm": "green"},
        ),
        "deleting": page(store("deleting"), operation("delete", "running", "stop+ release*")),
        "deleted": page(store("deleted", deleted_at=AT), operation("delete", "succeeded", "stop+ release+")),
        "unknown-state": page(store("hibernating"), made),
    }


def _lists() -> dict[str, Shown]:
    each = {
        "requested": operation("create", "queued", "namespace"),
        "provisioning": operation("create", "running", "namespace+ release* start prove"),
        "ready": operation("create", "succeeded", "namespace+"),
        "upgrading": operation("upgrade", "running", "dump+ release* start prove", **CHANGE),
        "rolling_back": operation("rollback", "running", "release+ start* prove", **BACK),
        "failed": operation("create", "failed", "namespace!", error=STUCK),
        "deleting": operation("delete", "running", "stop+ release*"),
        "deleted": operation("delete", "succeeded", "stop+"),
        "hibernating": None,
    }
    rows = [
        views.store(store(state, id=f"sto_{n}", name=LONG if n == 2 else f"shop-{n}"), last)
        for n, (state, last) in enumerate(each.items())
    ]
    none = {"has_more": False, "next": None, "q": None, "state": None, "starting_after": None}
    more = {**none, "has_more": True, "next": "sto_3", "starting_after": "sto_a"}
    return {
        "list": Shown("stores/list.html", {"stores": rows, "page": none}),
        "list-pages": Shown("stores/list.html", {"stores": rows[:3], "page": more}),
        "list-empty": Shown("stores/list.html", {"stores": [], "page": none}),
        "list-no-match": Shown("stores/list.html", {"stores": [], "page": {**none, "q": "x", "state": "rolling_back"}}),
    }


def _forms() -> dict[str, Shown]:
    woo = catalogue().to_json()
    oscar = next(iter(engines.load([ROOT / "charts"], runtime="local"))).to_json()
    both = {"engines": [woo, oscar], "idempotency_key": "k"}
    wrong = {"name": "Ä", "engine": "woocommerce", "version.woocommerce": "9", "plan.woocommerce": "huge"}
    errors = [
        {"pointer": "/name", "detail": "The name must have 3 to 40 characters."},
        {"pointer": "/version", "detail": "Must be one of: 11.0.1, 11.0.2, 10.9.0"},
        {"pointer": "/plan", "detail": "Must be one of: small, medium, large"},
        {"pointer": "/parameters/title", "detail": "'' is too short"},
    ]
    full = {"hour_limit": 30, "hour_left": 12, "stores_limit": 100, "stores_left": 0}
    return {
        "new": Shown("stores/new.html", {**both, "form": {"engine": "woocommerce"}}),
        "new-other-engine": Shown("stores/new.html", {**both, "form": {"engine": "oscar"}}),
        "new-wrong": Shown("stores/new.html", {**both, "form": wrong, "errors": errors}),
        "new-full": Shown("stores/new.html", {**both, "form": {"engine": "oscar"}, "quota": full}),
        "new-nothing": Shown("stores/new.html", {"engines": [], "idempotency_key": "k", "form": {"engine": ""}}),
    }


def _others() -> dict[str, Shown]:
    nobody = {"me": None, "csrf": None}
    error = {
        "status": 409,
        "title": "Not in this state",
        "code": "not_ready",
        "detail": "The store is upgrading.",
        "next": "Look at the store.",
    }
    return {
        "login": Shown("login.html", {**nobody, "retry_after": None}),
        "login-wrong": Shown(
            "login.html",
            {**nobody, "retry_after": None, "errors": [{"pointer": "", "detail": "Email or password is wrong."}]},
        ),
        "login-paused": Shown(
            "login.html", {**nobody, "retry_after": 30, "errors": [{"pointer": "", "detail": "Too many."}]}
        ),
        "error": Shown("error.html", {"error": error}),
        "error-away": Shown("error.html", {**nobody, "error": {**error, "status": 503}}),
    }


def write(folder: Path) -> list[str]:
    """Each state as a file; the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in drawn():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return [name for name, _text in drawn()]
