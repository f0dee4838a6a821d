"""The page of one store: its state, and the forms that change it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from aiohttp import web

from services.gateway.credentials import reveal_credentials
from services.gateway.dashboard.page_shell import PageShell, render_template
from services.gateway.dashboard.view_models.operations import make_operation_view
from services.gateway.dashboard.view_models.resources import make_resource_usage_view
from services.gateway.dashboard.view_models.stores import (
    get_engine_title,
    make_event_view,
    make_observed_view,
)
from services.gateway.dashboard.view_models.versions import make_history_view, make_versions_view
from services.gateway.request_parameters import get_path_id, parse_id
from services.gateway.resource_usage import read_resource_usage
from services.gateway.store_lookup import StoreLookup
from storefleet.admission.acceptance import Accepted
from storefleet.admission.requests import (
    CancelOperation,
    DeleteStore,
    RetryOperation,
    RollBackStore,
    UpgradeStore,
)
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.core.errors import Conflict, InvalidRequest, RequestError, RuntimeUnavailable
from storefleet.core.identifiers import OPERATION_PREFIX
from storefleet.core.models import Principal, Store
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.http.problems import REQUEST_ID
from storefleet.runtimes.protocol import Runtime

_MAX_EVENTS = 50
_MAX_LOG_LINES = 200
_RUNTIME_TIMEOUT_S = 3.0
_HISTORY_PAGE_SIZE = 10
VERSION_CHANGES_UNSUPPORTED = (
    "A local store keeps its version. Upgrades and rollbacks need Kubernetes."
)


class StorePage:
    """Shows a store and submits the operations that its page offers."""

    def __init__(
        self,
        *,
        page_shell: PageShell,
        admission: StoreAdmission,
        version_admission: VersionAdmission,
        engines: EngineCatalogue,
        runtime: Runtime,
        lookup: StoreLookup,
    ) -> None:
        self._page_shell = page_shell
        self._admission = admission
        self._version_admission = version_admission
        self._engines = engines
        self._runtime = runtime
        self._lookup = lookup

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the page and its forms."""
        return (
            web.get("/stores/{ref}", self.show_page),
            web.get("/stores/{ref}/live", self.show_live_fragment),
            web.post("/stores/{ref}/delete", self.delete_store),
            web.post("/stores/{ref}/retry", self.retry_operation),
            web.post("/stores/{ref}/upgrade", self.upgrade_store),
            web.post("/stores/{ref}/rollback", self.roll_back_store),
            web.post("/stores/{ref}/credentials", self.reveal_credentials),
            web.post("/operations/{id}/cancel", self.cancel_operation),
        )

    async def show_page(self, request: web.Request) -> web.StreamResponse:
        """Show the page of a store."""
        user = await self._page_shell.require_signed_in_user(request)
        return await self._render_page(request, user)

    async def show_live_fragment(self, request: web.Request) -> web.StreamResponse:
        """Show the part of the page that changes, for live updates."""
        user = await self._page_shell.require_signed_in_user(request)
        store = await self._lookup.get_store(request, user)
        context = await self._load_store_data(request, user, store)
        return render_template("stores/_live.html", request, context)

    async def delete_store(self, request: web.Request) -> web.StreamResponse:
        """Delete the store if its name was typed in to confirm."""
        user, form = await self._page_shell.read_signed_in_form(request)
        store = await self._lookup.get_store(request, user)
        if form.get("confirm", "").strip() != store.name:
            errors = [{"pointer": "/confirm", "detail": f"Type “{store.name}” to confirm."}]
            return await self._render_page(request, user, status=422, errors=errors, form=form)
        await self._admission.delete_store(
            user, DeleteStore(store_ref=store.id), request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def retry_operation(self, request: web.Request) -> web.StreamResponse:
        """Retry the failed operation of the store."""
        user, _form_fields = await self._page_shell.read_signed_in_form(request)
        store = await self._lookup.get_store(request, user)
        await self._admission.retry_operation(
            user, RetryOperation(store_ref=store.id), request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def upgrade_store(self, request: web.Request) -> web.StreamResponse:
        """Upgrade the store to the chosen version."""
        user, form = await self._page_shell.read_signed_in_form(request)
        store = await self._lookup.get_store(request, user)
        upgrade = self._version_admission.upgrade_store(
            user,
            UpgradeStore(store_ref=store.id, version=form.get("version", "")),
            request_id=request[REQUEST_ID],
        )
        return await self._submit_version_change(
            request, user, upgrade, open_form="upgrade", form=form
        )

    async def roll_back_store(self, request: web.Request) -> web.StreamResponse:
        """Roll the store back to the version before its last upgrade."""
        user, form = await self._page_shell.read_signed_in_form(request)
        store = await self._lookup.get_store(request, user)
        rollback = self._version_admission.roll_back_store(
            user,
            RollBackStore(
                store_ref=store.id,
                restore=form.get("restore") == "true",
                discard_orders=form.get("discard_orders") == "true",
            ),
            request_id=request[REQUEST_ID],
        )
        return await self._submit_version_change(
            request, user, rollback, open_form="rollback", form=form
        )

    async def reveal_credentials(self, request: web.Request) -> web.StreamResponse:
        """Show the page with the admin credentials; each call is recorded in the audit log."""
        user, _form_fields = await self._page_shell.read_signed_in_form(request)
        store = await self._lookup.get_store(request, user)
        credentials = await reveal_credentials(
            self._page_shell.database, self._runtime, user, store, request[REQUEST_ID]
        )
        return await self._render_page(request, user, credentials=credentials)

    async def cancel_operation(self, request: web.Request) -> web.StreamResponse:
        """Cancel the operation and redirect to the page of its store."""
        user, _form_fields = await self._page_shell.read_signed_in_form(request)
        operation = await self._admission.cancel_operation(
            user,
            CancelOperation(operation_id=get_path_id(request, OPERATION_PREFIX)),
            request_id=request[REQUEST_ID],
        )
        raise web.HTTPSeeOther(f"/stores/{operation.store_id}")

    async def _submit_version_change(
        self,
        request: web.Request,
        user: Principal,
        version_change: Awaitable[Accepted],
        *,
        open_form: str,
        form: dict[str, str],
    ) -> web.StreamResponse:
        """Redirect to the store's page, or show the form again with the reason of the rejection."""
        try:
            accepted = await version_change
        except (Conflict, InvalidRequest) as error:
            return await self._render_page(
                request,
                user,
                status=422,
                version_error=_make_version_error(error),
                open_form=open_form,
                form=form,
            )
        raise web.HTTPSeeOther(f"/stores/{accepted.store_id}")

    async def _render_page(
        self, request: web.Request, user: Principal, *, status: int = 200, **extra: Any
    ) -> web.StreamResponse:
        # The context comes first: see PageShell.make_context.
        context = await self._page_shell.make_context(request, user)
        store = await self._lookup.get_store(request, user)
        context |= await self._load_store_data(request, user, store)
        return render_template("stores/detail.html", request, {**context, **extra}, status=status)

    async def _load_store_data(
        self, request: web.Request, user: Principal, store: Store
    ) -> dict[str, Any]:
        starting_after = parse_id(request, "history", OPERATION_PREFIX)
        async with self._page_shell.database.autocommit() as db:
            latest = (await db.operations.find_latest_by_store([store.id])).get(store.id)
            events, _has_more_events = await db.events.list_of_store(
                tenant_id=user.tenant_id, store_id=store.id, limit=_MAX_EVENTS
            )
            entries, has_more = await db.version_history.list_page(
                store=store, limit=_HISTORY_PAGE_SIZE, starting_after=starting_after
            )
            reversible_upgrade = await db.version_history.find_reversible_upgrade(store)
        logs, usage = await asyncio.gather(self._read_logs(store), self._read_resource_usage(store))
        engine = self._engines.find(store.engine)
        return {
            "store": {
                **store.to_json(),
                **make_observed_view(store),
                "engine_title": get_engine_title(store, engine),
            },
            "operation": make_operation_view(latest),
            "events": [make_event_view(event) for event in events],
            "logs": logs,
            "credentials": None,
            "has_mail": engine is not None and engine.mail is not None,
            "versions": make_versions_view(
                store,
                engine,
                reversible_upgrade=reversible_upgrade,
                unsupported_reason=(
                    None if self._runtime.supports_version_changes else VERSION_CHANGES_UNSUPPORTED
                ),
            ),
            "usage": usage,
            "history": make_history_view(entries, has_more=has_more, starting_after=starting_after),
            "errors": [],
            "form": {},
            "csrf": user.csrf,
        }

    async def _read_resource_usage(self, store: Store) -> dict[str, Any] | None:
        """Return the view of plan and usage; None if the store has neither plan nor quota."""
        try:
            async with asyncio.timeout(_RUNTIME_TIMEOUT_S):
                usage = await read_resource_usage(self._engines, self._runtime, store)
        except (RuntimeUnavailable, TimeoutError) as error:
            problem = " ".join(
                ("Usage is unavailable.", *_list_text(error), "The store isn't affected.")
            )
            return make_resource_usage_view({}, problem=f"{problem} Reload the page in a minute.")
        if not usage["title"] and usage["resources"] is None:
            return None
        return make_resource_usage_view(usage)

    async def _read_logs(self, store: Store) -> list[str]:
        """Return the log tail, or the reason why it is unavailable: the page works without it."""
        try:
            async with asyncio.timeout(_RUNTIME_TIMEOUT_S):
                return await self._runtime.read_logs(store, tail=_MAX_LOG_LINES)
        except (RuntimeUnavailable, TimeoutError) as error:
            return [" ".join(("Logs are unavailable.", *_list_text(error)))]


def _list_text(error: Exception) -> Sequence[str]:
    """List the error's text: one element, or none because a TimeoutError has no text."""
    return (str(error),) if str(error) else ()


def _make_version_error(error: RequestError) -> dict[str, str]:
    """Make the explanation of a rejected version change, with the violated rules."""
    rules = " ".join(f"The version {rule}." for _pointer, rule in error.errors)
    return {"code": error.code, "detail": f"{error.detail} {rules}".strip()}
