"""Complete sample stores, operations, engines and events for the pages."""

from datetime import datetime, timedelta
from typing import Any

from services.gateway.mail_answers import Mail
from storefleet.core.models import Event, Failure, Operation, Step, Store
from storefleet.database.repositories.version_history import Requester, VersionHistoryEntry
from storefleet.engines import catalogue
from storefleet.engines.descriptor import Engine, EngineVersion
from storefleet.runtimes.protocol import ResourceUsage
from tests.support.services import version_rehearsal
from tests.support.services.platform import ROOT

AT = datetime.fromisoformat("2026-11-20T10:00:00+00:00")
STORE = "sto_aaaaaaaaaaaaaaaa"
LONG_NAME = "a-store-whose-name-takes-all-forty-chars"
OWNER = Requester("usr_a", "owner@example.com")
PIPELINE = Requester("tok_a", "deployment pipeline of the northern stores")
UP = {"from": "11.0.1", "to": "11.0.2"}
DOWN = {"from": "11.0.2", "to": "11.0.1", "restore": False, "discard_orders": False, "dump": "op_a"}
DOWN_WITH_DATA = {**DOWN, "restore": True}
#: One word, wider than a narrow screen.
LONG_TITLE = "👩‍🍳Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbau"
TITLES = {"namespace": "Prepare the namespace", **version_rehearsal.TITLES}
MESSAGES = {
    "dump": "1.4 MB saved",
    "release": "Release 3 is installed",
    "start": "2 of 2 pods are ready",
}
CRASHES = Failure(
    code="store_crashes",
    detail="The store with 11.0.2 ended with exit code 255, three times: PHP Fatal error: "
    "Uncaught Error: Call to"
    " undefined function wc_get_container() in "
    "/srv/shop/wp-content/plugins/woocommerce/woocommerce.php:43.",
    step="start",
    next="Try the version on a store without customers, or wait for the next one.",
)
CRASHED = CRASHES.model_copy(
    update={"detail": f"{CRASHES.detail} The store was rolled back to 11.0.1."}
)
CANCELLED = Failure(
    code="cancelled",
    detail="The upgrade was cancelled before it was complete. The store was rolled back to 11.0.1.",
    next="Upgrade again whenever you like.",
)
ORDERS = Failure(
    code="orders_would_be_lost",
    detail="3 order(s) came in after the dump of 2026-11-20T10:00:00.000Z and would be lost: 1042 "
    "(84.00 EUR,"
    " 2026-11-20T11:02:14Z); 1043 (12.50 EUR, 2026-11-20T11:15:40Z); 1044 (230.00 EUR, "
    "2026-11-20T12:40:02Z).",
    step="orders",
    next="Repeat the rollback with “discard_orders”: true, or roll back without restore.",
)
STUCK = Failure(
    code="rollback_failed",
    detail="The store with 11.0.2 ended with exit code 255, three times. (store_crashes) The "
    "automatic rollback failed, too: there is"
    " no room for another pod: 0/1 nodes are available: 1 Insufficient memory. (no_room)",
    step="rollback-start",
    next="Make room on the node. Then retry the rollback to 11.0.1.",
)
CREATION_CANCELLED = Failure(
    code="cancelled",
    detail="The creation was cancelled before it was complete.",
    next="Retry to continue from there, or delete the store.",
)
NO_ROOM = Failure(
    code="no_room",
    detail="There is no room for the store's pod: 0/1 nodes are available: 1 Insufficient memory.",
    step="start",
    next="Delete stores that nobody needs, or add a node. Then retry.",
)
USES = (
    ResourceUsage("CPU requests", "0.11", "0.2", 0.55),
    ResourceUsage("CPU limits", "3", "4", 0.75),
    ResourceUsage("memory requests", "256 MiB", "384 MiB", 0.67),
    ResourceUsage("memory limits", "640 MiB", "768 MiB", 0.83),
    ResourceUsage("storage", "2 GiB", "2 GiB", 1.0),
    ResourceUsage("volumes", "2", "2", 1.0),
    ResourceUsage("pods", "0", "4", 0.0),
)


def versioned_engine(*, versions: int = 3) -> Engine:
    """Return an engine with three plans, and versions around the store's."""
    oscar = oscar_on("kubernetes")
    assert oscar.kubernetes is not None
    small = oscar.kubernetes.plans["small"]
    sizes = {
        "small": ("Small", "4", "768Mi"),
        "medium": ("Medium", "6", "1536Mi"),
        "large": ("Large", "8", "3Gi"),
    }
    plans = {
        name: small.model_copy(
            update={
                "title": title,
                "quota": {**small.quota, "limits.cpu": cpu, "limits.memory": memory},
            }
        )
        for name, (title, cpu, memory) in sizes.items()
    }
    notes = (
        "WooCommerce 11.0.1 on WordPress 7.1 and PHP 8.4; "
        "a light theme with cart and checkout blocks."
    )
    known = (
        EngineVersion(version="11.0.1", notes=notes, image="x"),
        EngineVersion(
            version="11.0.2", notes="Corrections of the checkout; faster product search.", image="x"
        ),
        EngineVersion(version="10.9.0", notes="The last of the 10 series.", image="x"),
    )
    return oscar.model_copy(
        update={
            "name": "woocommerce",
            "title": "WooCommerce",
            "summary": "WordPress with WooCommerce: the most used store software, with thousands "
            "of extensions.",
            "versions": known[:versions],
            "default_version": "11.0.1",
            "kubernetes": oscar.kubernetes.model_copy(update={"plans": plans}),
        }
    )


def oscar_on(runtime: str) -> Engine:
    return catalogue.load_engines([ROOT / "charts"], runtime=runtime).get_offered("oscar")


def store(state: str, **fields: Any) -> Store:
    return Store.model_validate(
        {
            "id": STORE,
            "tenant_id": "ten_a",
            "name": "green-garden",
            "engine": "woocommerce",
            "engine_version": "11.0.1",
            "plan": "small",
            "parameters": {"title": LONG_TITLE, "currency": "EUR"},
            "state": state,
            "url": "http://green-garden.stores.example.com/",
            "admin_url": "http://green-garden.stores.example.com/wp-admin/",
            "failure": None,
            "created_at": AT,
            "ready_at": AT + timedelta(seconds=13.4),
            "deleted_at": None,
            "version": 7,
            **fields,
        }
    )


def operation(
    kind: str,
    state: str,
    steps: str,
    *,
    error: Failure | None = None,
    asked: dict[str, Any] | None = None,
) -> Operation:
    """Build an operation; `steps` marks done steps by `+`, failed by `!`, the running by `*`."""
    done = state in ("succeeded", "failed", "cancelled")
    return Operation.model_validate(
        {
            "id": "op_bbbbbbbbbbbbbbbb",
            "tenant_id": "ten_a",
            "store_id": STORE,
            "kind": kind,
            "state": state,
            "error": error,
            "attempt": 1,
            "cancel_requested": False,
            "fence": 1,
            "request_id": "req_0d6c1a7c4f2e9b8a5d30",
            "deadline": AT + timedelta(minutes=15),
            "run_after": AT,
            "created_at": AT,
            "started_at": AT,
            "finished_at": AT + timedelta(seconds=21.3) if done else None,
            "input": asked or {},
            "steps": [_step(number, text, error) for number, text in enumerate(steps.split())],
        }
    )


def _step(number: int, text: str, error: Failure | None) -> Step:
    name = text.rstrip("+!*-")
    state = {"+": "succeeded", "!": "failed", "*": "running", "-": "cancelled"}.get(
        text[len(name) :], "pending"
    )
    begun = AT + timedelta(seconds=4 * number)
    messages = {
        "succeeded": MESSAGES.get(name, ""),
        "failed": error.detail if error else "",
        "cancelled": "Not begun",
    }
    return Step.model_validate(
        {
            "name": name,
            "title": TITLES[name],
            "state": state,
            "message": messages.get(state, ""),
            "started_at": None if state in ("pending", "cancelled") else begun,
            "finished_at": None
            if state in ("pending", "running")
            else begun + timedelta(seconds=3.6),
        }
    )


def entry(
    kind: str,
    state: str,
    asked: dict[str, Any],
    *,
    by: Requester = OWNER,
    error: Failure | None = None,
) -> VersionHistoryEntry:
    return VersionHistoryEntry(
        operation_id=f"op_{kind}_{state}",
        kind=kind,
        state=state,
        from_version=asked.get("from"),
        to_version=asked["to"],
        restores_dump=asked.get("restore", False),
        plan="small",
        requested_by=by,
        created_at=AT,
        finished_at=None if state == "running" else AT + timedelta(seconds=21),
        error=error,
    )


CREATED = entry("create", "succeeded", {"to": "11.0.1"})
LONG_HISTORY = (
    entry("rollback", "failed", DOWN_WITH_DATA, error=ORDERS),
    entry("upgrade", "succeeded", UP, by=PIPELINE),
    entry("upgrade", "cancelled", UP),
    entry("upgrade", "failed", UP, error=CRASHED),
    entry("rollback", "succeeded", DOWN),
    CREATED,
)


def events(shown: Store, last: Operation | None) -> list[Event]:
    types = ["store.ready", "store.provisioning", "store.requested"]
    if last and last.kind in ("upgrade", "rollback"):
        types.insert(
            0, "store.rolling_back" if last.error or last.kind == "rollback" else "store.upgrading"
        )
    changed = {"store": shown.to_json(), "operation": last.to_json() if last else {}}
    return [
        Event(
            id=f"evt_{number}",
            seq=20 - number,
            tenant_id="ten_a",
            store_id=STORE,
            operation_id=None,
            type=kind,
            time=AT,
            data=changed if number == 0 else {"store": shown.to_json()},
        )
        for number, kind in enumerate(types)
    ]


def mail(number: int, *, subject: str | None = None, to: tuple[str, ...] | None = None) -> Mail:
    """Return a mail as a store answers with it."""
    return Mail.model_validate(
        {
            "id": str(number),
            "created_at": AT + timedelta(minutes=number),
            "from": "Green Garden <shop@green-garden.example>",
            "to": to if to is not None else (f"customer-{number}@example.com",),
            "subject": subject if subject is not None else f"Your order {1000 + number}",
            "text": f"Thank you for your order {1000 + number}.\n\n2 Stoneware Mug  36.00 EUR\n",
            "html": f"<p>Thank you for your order {1000 + number}.</p>",
        }
    )
