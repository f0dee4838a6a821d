"""Every state that the dashboard can show, rendered without a server."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jinja2

from services.gateway.dashboard.assets import AssetManifest
from services.gateway.dashboard.store_page import VERSION_CHANGES_UNSUPPORTED
from services.gateway.dashboard.view_models.create_form import make_engine_view
from services.gateway.dashboard.view_models.mail import make_mail_list_view, make_mail_view
from services.gateway.dashboard.view_models.operations import make_operation_view
from services.gateway.dashboard.view_models.resources import make_resource_usage_view
from services.gateway.dashboard.view_models.stores import (
    make_event_view,
    make_observed_view,
    make_store_view,
)
from services.gateway.dashboard.view_models.versions import make_history_view, make_versions_view
from services.gateway.mail_answers import Mail, MailPage
from storefleet.core.models import Operation, Store
from storefleet.database.repositories.version_history import VersionHistoryEntry
from storefleet.engines.descriptor import Engine
from storefleet.runtimes.protocol import ResourceUsage
from tests.support.dashboard import samples
from tests.support.dashboard.samples import DOWN, DOWN_WITH_DATA, UP, operation, store
from tests.support.services.platform import ROOT

#: A state of a later release, which the models of this one would reject.
UNKNOWN_STATE = store("ready", id="sto_9").model_copy(update={"state": "hibernating"})
DASHBOARD = ROOT / "services" / "gateway" / "dashboard"


class PageState(NamedTuple):
    """One page in one state."""

    template: str
    context: dict[str, Any]


def render_states() -> Iterator[tuple[str, str]]:
    """Yield name and HTML of each state."""
    templates = _environment()
    for name, shown in {
        **_others(),
        **_lists(),
        **_mails(),
        **_forms(),
        **_quiet(),
        **_changing(),
        **_changed(),
    }.items():
        yield name, templates.get_template(shown.template).render(_frame() | shown.context)


def _environment() -> jinja2.Environment:
    """Create the template environment as the gateway does."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(DASHBOARD / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = AssetManifest(DASHBOARD / "static" / "dist")
    return made


def _frame() -> dict[str, Any]:
    return {
        "me": {
            "email": "owner@example.com",
            "tenant": "ten_a",
            "tenant_name": "Acme",
            "operator": True,
        },
        "csrf": "a-token",
        "live": None,
        "request_id": "req_9421b2069d8a3c48e630",
        "quota": {"hour_limit": 30, "hour_left": 12, "stores_limit": 100, "stores_left": 88},
        "errors": [],
        "form": {},
    }


def page(
    shown: Store,
    last: Operation | None,
    *,
    engine: Engine | None = None,
    back: Operation | None = None,
    why_not: str | None = None,
    uses: tuple[ResourceUsage, ...] = samples.USES,
    entries: tuple[VersionHistoryEntry, ...] = (samples.CREATED,),
    older: bool = False,
    **more: Any,
) -> PageState:
    """Render a store's page with the state of its latest operation."""
    context: dict[str, Any] = {
        "store": {
            **shown.to_json(),
            **make_observed_view(shown),
            "engine_title": "WooCommerce",
        },
        "operation": make_operation_view(last),
        "events": [make_event_view(event) for event in samples.events(shown, last)],
        "logs": [
            f"10.20.0.7 - - [20/Nov/2026:10:00:{n:02} +0000] GET /shop/ HTTP/1.1 200"
            for n in range(20)
        ],
        "credentials": None,
        "has_mail": True,
        "versions": make_versions_view(
            shown,
            engine or samples.versioned_engine(),
            reversible_upgrade=back,
            unsupported_reason=why_not,
        ),
        "usage": make_resource_usage_view(
            {"title": "Small", "resources": [use._asdict() for use in uses]}
        ),
        "history": make_history_view(
            entries, has_more=older, starting_after="op_9" if older else None
        ),
        **more,
    }
    return PageState("stores/detail.html", context)


def _quiet() -> dict[str, PageState]:
    """Return pages of stores without an open operation."""
    made = operation("create", "succeeded", "namespace+ release+ start+ verify+")
    ready = store("ready")
    url = f"http://{samples.LONG_NAME}.stores.example.com/"
    refusal = {
        "code": "not_ready",
        "detail": "The store is upgrading. Only a ready store can be upgraded. Wait until the "
        "upgrade has ended.",
    }
    away = make_resource_usage_view(
        {},
        problem="Usage is unavailable. The cluster does not answer. The store isn't affected. "
        "Reload the page in a minute.",
    )
    signed = {
        "admin_url": ready.admin_url,
        "username": "admin",
        "password": "correct-horse-battery",
    }
    confirm = [{"pointer": "/confirm", "detail": "Type “green-garden” to confirm."}]
    one = samples.versioned_engine(versions=1)
    return {
        "ready": page(ready, made),
        "ready-long": page(
            store("ready", name=samples.LONG_NAME, url=url),
            made,
            entries=samples.LONG_HISTORY,
            older=True,
        ),
        "ready-one-version": page(ready, made, engine=one),
        "ready-here": page(
            store("ready", plan=""),
            made,
            engine=one,
            usage=None,
            why_not=VERSION_CHANGES_UNSUPPORTED,
        ),
        "ready-usage-away": page(ready, made, usage=away),
        "ready-credentials": page(ready, made, credentials=signed),
        "upgrade-open": page(ready, made, open_form="upgrade"),
        "upgrade-refused": page(ready, made, open_form="upgrade", version_error=refusal),
        "delete-refused": page(ready, made, errors=confirm, form={"confirm": "green"}),
        "unknown-state": page(UNKNOWN_STATE, made),
        "closed-by-owner": page(
            store("ready", storefront="closed_by_owner", cron="closed_by_owner"), made
        ),
        "protected": page(store("ready", storefront="protected", cron="calling"), made),
        "down": page(store("ready", storefront="down", cron="failing"), made),
    }


def _changing() -> dict[str, PageState]:
    """Return pages of stores with a running operation."""
    fresh = {"url": None, "ready_at": None}
    newer = store("rolling_back", engine_version="11.0.2")
    running = (samples.entry("upgrade", "running", UP), samples.CREATED)
    there = "dump+ release+ start! verify- rollback-release+ rollback-start* rollback-verify"
    return {
        "requested": page(store("requested", **fresh), operation("create", "queued", ""), uses=()),
        "provisioning": page(
            store("provisioning", **fresh),
            operation("create", "running", "namespace+ release* start verify"),
            uses=(),
        ),
        "upgrade-queued": page(store("ready"), operation("upgrade", "queued", "", asked=UP)),
        "upgrading": page(
            store("upgrading"),
            operation("upgrade", "running", "dump+ release+ start* verify", asked=UP),
            entries=running,
        ),
        "automatic-rollback": page(
            store("rolling_back"),
            operation("upgrade", "running", there, error=samples.CRASHES, asked=UP),
        ),
        "rolling-back": page(
            newer, operation("rollback", "running", "release+ start* verify", asked=DOWN)
        ),
        "restoring": page(
            newer,
            operation(
                "rollback",
                "running",
                "orders+ stop+ restore* release start verify",
                asked=DOWN_WITH_DATA,
            ),
        ),
        "deleting": page(store("deleting"), operation("delete", "running", "stop+ release*")),
    }


def _changed() -> dict[str, PageState]:
    """Return pages of stores after a finished or rejected operation."""
    upgraded = operation("upgrade", "succeeded", "dump+ release+ start+ verify+", asked=UP)
    newer = store("ready", engine_version="11.0.2")
    back = "dump+ release+ start! verify- rollback-release+ rollback-start+ rollback-verify+"
    stopped = "dump+ release! start- verify- rollback-release+ rollback-start+ rollback-verify+"
    stuck = "dump+ release+ start! verify- rollback-release+ rollback-start! rollback-verify"
    asks = "orders! stop restore release start verify"
    return {
        "upgraded": page(newer, upgraded, back=upgraded, entries=samples.LONG_HISTORY[1:]),
        "rollback-open": page(
            newer, upgraded, back=upgraded, open_form="rollback", form={"restore": "true"}
        ),
        "upgrade-failed": page(
            store("ready"),
            operation("upgrade", "failed", back, error=samples.CRASHED, asked=UP),
            entries=samples.LONG_HISTORY,
        ),
        "upgrade-cancelled": page(
            store("ready"),
            operation("upgrade", "failed", stopped, error=samples.CANCELLED, asked=UP),
        ),
        "automatic-rollback-failed": page(
            store("failed", failure=samples.STUCK),
            operation("upgrade", "failed", stuck, error=samples.STUCK, asked=UP),
        ),
        "orders-would-be-lost": page(
            newer,
            operation("rollback", "failed", asks, error=samples.ORDERS, asked=DOWN_WITH_DATA),
            back=upgraded,
            entries=samples.LONG_HISTORY,
        ),
        "rollback-failed": page(
            store("failed", engine_version="11.0.2", failure=samples.NO_ROOM),
            operation(
                "rollback", "failed", "release+ start! verify", error=samples.NO_ROOM, asked=DOWN
            ),
        ),
        "rolled-back": page(
            store("ready"),
            operation("rollback", "succeeded", "release+ start+ verify+", asked=DOWN),
        ),
        "failed": page(
            store("failed", url=None, ready_at=None, failure=samples.NO_ROOM),
            operation(
                "create", "failed", "namespace+ release+ start! verify", error=samples.NO_ROOM
            ),
            entries=(),
        ),
        "cancelled": page(
            store("failed", url=None, ready_at=None, failure=samples.CREATION_CANCELLED),
            operation(
                "create",
                "cancelled",
                "namespace+ release- start- verify-",
                error=samples.CREATION_CANCELLED,
            ),
            entries=(),
        ),
        "deleted": page(
            store("deleted", deleted_at=samples.AT),
            operation("delete", "succeeded", "stop+ release+"),
        ),
    }


def _mails() -> dict[str, PageState]:
    """Return the pages of a store's mails."""
    shown = {"store": store("ready").to_json(), "mails": None, "mail": None, "problem": None}
    long = samples.mail(
        9, subject="Your order " + "1234567890" * 40, to=("x" * 60 + "@example.com",) * 5
    )
    page = MailPage(data=(long, *(samples.mail(n) for n in range(8, 0, -1))), has_more=True)
    none = MailPage(data=(), has_more=False)
    away = {
        "detail": "The store green-garden does not answer within 10 s. Read the store's log, then "
        "try again.",
        "code": "store_mail_unavailable",
        "retryable": True,
    }
    keyless = {
        "detail": "Stores of the engine Tiny keep no mails to read.",
        "code": "no_mail_outbox",
        "retryable": False,
    }

    def mails(listed: MailPage, after: str | None = None) -> PageState:
        view = make_mail_list_view(listed, starting_after=after)
        return PageState("stores/mail_list.html", {**shown, "mails": view})

    def opened(mail: Mail) -> PageState:
        return PageState("stores/mail.html", {**shown, "mail": make_mail_view(mail)})

    return {
        "mails": mails(page),
        "mails-older": mails(page, "20"),
        "mails-none": mails(none),
        "mails-end": mails(none, "1"),
        "mails-away": PageState("stores/mail_list.html", {**shown, "problem": away}),
        "mails-without-outbox": PageState("stores/mail_list.html", {**shown, "problem": keyless}),
        "mail": opened(samples.mail(1)),
        "mail-long": opened(long.model_copy(update={"text": "word" * 3000, "truncated": True})),
        "mail-empty": opened(
            samples.mail(2, subject="", to=()).model_copy(update={"text": None, "html": None})
        ),
        "mail-away": PageState("stores/mail.html", {**shown, "problem": away}),
    }


def _lists() -> dict[str, PageState]:
    each = {
        "requested": operation("create", "queued", "namespace"),
        "provisioning": operation("create", "running", "namespace+ release* start verify"),
        "ready": operation("create", "succeeded", "namespace+"),
        "upgrading": operation("upgrade", "running", "dump+ release* start verify", asked=UP),
        "rolling_back": operation("rollback", "running", "release+ start* verify", asked=DOWN),
        "failed": operation("create", "failed", "namespace!", error=samples.NO_ROOM),
        "deleting": operation("delete", "running", "stop+ release*"),
        "deleted": operation("delete", "succeeded", "stop+"),
    }
    rows = [
        make_store_view(
            store(state, id=f"sto_{n}", name=samples.LONG_NAME if n == 2 else f"store-{n}"),
            last,
            samples.versioned_engine(),
        )
        for n, (state, last) in enumerate(each.items())
    ]
    rows.append(make_store_view(UNKNOWN_STATE, None, samples.versioned_engine()))
    observed: list[dict[str, Any]] = [
        {"storefront": "serving", "cron": "failing"},
        {"storefront": "closed_by_owner", "name": samples.LONG_NAME},
        {"storefront": "protected"},
        {"storefront": "down", "cron": "closed_by_owner"},
    ]
    rows += [
        make_store_view(
            store("ready", **{"id": f"sto_o{n}", "name": f"observed-{n}", **fields}),
            None,
            samples.versioned_engine(),
        )
        for n, fields in enumerate(observed)
    ]
    none = {"has_more": False, "next": None, "q": None, "state": None, "starting_after": None}
    more = {**none, "has_more": True, "next": "sto_3", "starting_after": "sto_a"}
    return {
        "list": PageState("stores/list.html", {"stores": rows, "page": none}),
        "list-pages": PageState("stores/list.html", {"stores": rows[:3], "page": more}),
        "list-empty": PageState("stores/list.html", {"stores": [], "page": none}),
        "list-no-match": PageState(
            "stores/list.html", {"stores": [], "page": {**none, "q": "x", "state": "rolling_back"}}
        ),
    }


def _forms() -> dict[str, PageState]:
    both = [
        make_engine_view(samples.versioned_engine()),
        make_engine_view(samples.oscar_on("local")),
    ]
    wrong = {
        "name": "Ä",
        "engine": "woocommerce",
        "version.woocommerce": "9",
        "plan.woocommerce": "huge",
    }
    errors = [
        {"pointer": "/name", "detail": "The name must have 3 to 40 characters."},
        {"pointer": "/version", "detail": "The version must be one of: 11.0.1, 11.0.2, 10.9.0."},
        {"pointer": "/plan", "detail": "The plan must be one of: small, medium, large."},
        {"pointer": "/parameters/title", "detail": "Store title: must have at least 1 character."},
    ]
    full = {"hour_limit": 30, "hour_left": 12, "stores_limit": 100, "stores_left": 0}
    shown = {
        "new": {"form": {"engine": "woocommerce"}},
        "new-here": {
            "form": {"engine": "oscar"},
            "url_preview": {"prefix": "http://", "suffix": ".localhost", "has_assigned_port": True},
        },
        "new-wrong": {"form": wrong, "errors": errors},
        "new-full": {"form": {"engine": "oscar"}, "quota": full},
        "new-nothing": {"form": {"engine": ""}, "engines": []},
    }
    url_preview = {
        "prefix": "https://",
        "suffix": ".stores.example.com",
        "has_assigned_port": False,
    }
    start = {"engines": both, "idempotency_key": "k", "url_preview": url_preview}
    return {
        name: PageState("stores/new.html", {**start, **context}) for name, context in shown.items()
    }


def _others() -> dict[str, PageState]:
    nobody = {"me": None, "csrf": None, "retry_after": None, "is_local": True}
    wrong = [{"pointer": "", "detail": "The e-mail address or password is wrong."}]
    refused = {
        "status": 409,
        "title": "Not possible in this state",
        "code": "not_ready",
        "detail": "The store is upgrading.",
        "next": "Open the store: its state has changed in the meantime.",
    }
    return {
        "login": PageState("login.html", nobody),
        "login-wrong": PageState("login.html", {**nobody, "errors": wrong}),
        "login-remote": PageState("login.html", {**nobody, "is_local": False}),
        "login-paused": PageState("login.html", {**nobody, "retry_after": 30, "errors": wrong}),
        "error": PageState("error.html", {"error": refused}),
        "error-away": PageState("error.html", {**nobody, "error": {**refused, "status": 503}}),
    }
