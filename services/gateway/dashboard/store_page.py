"""The page of one store: what it is, what happens to it, and the forms that change it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from aiohttp import web

from services.gateway.request_parameters import get_path_id, get_store_ref, parse_id
from services.gateway.credentials import reveal_credentials
from services.gateway.resource_usage import read_resource_usage
from services.gateway.dashboard import view_models
from services.gateway.dashboard.page_shell import PageShell, render_template
from storefleet.admission.acceptance import Accepted
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    RequestError,
    RuntimeUnavailable,
)
from storefleet.core.identifiers import OPERATION_PREFIX
from storefleet.core.models import Operation, Principal, Store
from storefleet.engines.catalogue import Engines
from storefleet.http.app import REQUEST_ID
from storefleet.runtimes.protocol import Runtime

_MAX_EVENTS = 50
_MAX_LOG_LINES = 200
_RUNTIME_TIMEOUT_S = 3.0
_HISTORY_PAGE_SIZE = 10
VERSION_CHANGES_UNSUPPORTED = (
    "Here a store keeps the version that it was made with. For another one, create a new store, or run the platform on"
    " Kubernetes."
)


class StorePage:
    """Drawn whole, or as the fragment that an open page asks for when something happens."""

    def __init__(
        self,
        *,
        page_shell: PageShell,
        admission: StoreAdmission,
        version_admission: VersionAdmission,
        engines: Engines,
        runtime: Runtime,
    ) -> None:
        self._page_shell = page_shell
        self._admission = admission
        self._version_admission = version_admission
        self._engines = engines
        self._runtime = runtime

    def routes(self) -> Sequence[web.RouteDef]:
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
        return await self._render_page(
            request, await self._page_shell.require_signed_in_user(request)
        )

    async def show_live_fragment(self, request: web.Request) -> web.StreamResponse:
        caller = await self._page_shell.require_signed_in_user(request)
        store = await self._find_store(request, caller)
        return render_template(
            "stores/_live.html", request, await self._load_store_data(request, caller, store)
        )

    async def _render_page(
        self, request: web.Request, caller: Principal, *, status: int = 200, **more: Any
    ) -> web.StreamResponse:
        frame = await self._page_shell.make_context(
            request, caller
        )  # its seq first: what comes later is replayed, not missed
        store = await self._find_store(request, caller)
        context = {**frame, **await self._load_store_data(request, caller, store), **more}
        return render_template("stores/detail.html", request, context, status=status)

    async def _load_store_data(
        self, request: web.Request, caller: Principal, store: Store
    ) -> dict[str, Any]:
        after = parse_id(request, "history", OPERATION_PREFIX)
        async with self._page_shell.database.autocommit() as db:
            latest = (await db.operations.find_latest_by_store([store.id])).get(store.id)
            events, _more = await db.events.list_of_store(
                tenant_id=caller.tenant_id, store_id=store.id, limit=_MAX_EVENTS
            )
            entries, more = await db.version_history.list_page(
                store=store, limit=_HISTORY_PAGE_SIZE, starting_after=after
            )
            way_back = await db.version_history.find_reversible_upgrade(store)
        logs, taken = await asyncio.gather(self._read_logs(store), self._read_resource_usage(store))
        return {
            "store": {
                **store.to_json(),
                "engine_title": view_models.get_engine_title(
                    store, self._engines.find(store.engine)
                ),
            },
            "operation": view_models.make_operation_view(latest),
            "events": [view_models.make_event_view(event) for event in events],
            "logs": logs,
            "credentials": None,
            "versions": self._make_versions(store, way_back),
            "usage": taken,
            "history": view_models.make_history_view(entries, has_older=more, starting_after=after),
            "errors": [],
            "form": {},
            "csrf": caller.csrf,
        }

    def _make_versions(self, store: Store, reversible_upgrade: Operation | None) -> dict[str, Any]:
        why_not = None if self._runtime.changes_versions else VERSION_CHANGES_UNSUPPORTED
        return view_models.make_versions_view(
            store,
            self._engines.find(store.engine),
            reversible_upgrade=reversible_upgrade,
            unsupported_reason=why_not,
        )

    async def _read_resource_usage(self, store: Store) -> dict[str, Any] | None:
        """None where neither a plan nor the place where stores run limits them."""
        try:
            async with asyncio.timeout(_RUNTIME_TIMEOUT_S):
                shown = await read_resource_usage(self._engines, self._runtime, store)
        except (RuntimeUnavailable, TimeoutError) as error:
            problem = f"It cannot be read at the moment. {error}".strip()
            return view_models.make_resource_usage_view(
                {}, problem=f"{problem} The store is not touched by that; look again in a minute."
            )
        return (
            view_models.make_resource_usage_view(shown)
            if shown["title"] or shown["resources"] is not None
            else None
        )

    async def _read_logs(self, store: Store) -> list[str]:
        """The page is of use without them, when the place where stores run is away."""
        try:
            async with asyncio.timeout(_RUNTIME_TIMEOUT_S):
                return await self._runtime.logs(store, tail=_MAX_LOG_LINES)
        except (RuntimeUnavailable, TimeoutError) as error:
            return [f"The log cannot be read at the moment. {error}".strip()]

    async def delete_store(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._page_shell.read_signed_in_form(request)
        store = await self._find_store(request, caller)
        if form.get("confirm", "").strip() != store.name:
            errors = [{"pointer": "/confirm", "detail": f"Type “{store.name}” to confirm."}]
            return await self._render_page(request, caller, status=422, errors=errors, form=form)
        await self._admission.delete_store(
            caller, store_ref=store.id, request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def retry_operation(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._page_shell.read_signed_in_form(request)
        store = await self._find_store(request, caller)
        await self._admission.retry_operation(
            caller, store_ref=store.id, request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def upgrade_store(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._page_shell.read_signed_in_form(request)
        store = await self._find_store(request, caller)
        version = form.get("version", "")
        asked = self._version_admission.upgrade_store(
            caller, store_ref=store.id, version=version, request_id=request[REQUEST_ID]
        )
        return await self._submit_version_change(
            request, caller, asked, open_form="upgrade", form=form
        )

    async def roll_back_store(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._page_shell.read_signed_in_form(request)
        store = await self._find_store(request, caller)
        asked = self._version_admission.roll_back_store(
            caller,
            store_ref=store.id,
            restore=form.get("restore") == "true",
            discard_orders=form.get("discard_orders") == "true",
            request_id=request[REQUEST_ID],
        )
        return await self._submit_version_change(
            request, caller, asked, open_form="rollback", form=form
        )

    async def _submit_version_change(
        self,
        request: web.Request,
        caller: Principal,
        version_change: Awaitable[Accepted],
        *,
        open_form: str,
        form: dict[str, str],
    ) -> web.StreamResponse:
        """On to the store's page, or back to the form that was refused."""
        try:
            accepted = await version_change
        except (Conflict, InvalidRequest) as error:
            return await self._render_page(
                request,
                caller,
                status=422,
                version_errors=_make_version_error(error),
                opened=open_form,
                form=form,
            )
        raise web.HTTPSeeOther(f"/stores/{accepted.store['id']}")

    async def reveal_credentials(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._page_shell.read_signed_in_form(request)
        store = await self._find_store(request, caller)
        shown = await reveal_credentials(
            self._page_shell.database, self._runtime, caller, store, request[REQUEST_ID]
        )
        return await self._render_page(request, caller, credentials=shown)

    async def cancel_operation(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._page_shell.read_signed_in_form(request)
        operation = await self._admission.cancel_operation(
            caller,
            operation_id=get_path_id(request, OPERATION_PREFIX),
            request_id=request[REQUEST_ID],
        )
        raise web.HTTPSeeOther(f"/stores/{operation.store_id}")

    async def _find_store(self, request: web.Request, caller: Principal) -> Store:
        async with self._page_shell.database.autocommit() as db:
            store = await db.stores.find(
                tenant_id=caller.tenant_id,
                store_ref=get_store_ref(request),
                retention=self._page_shell.retention,
            )
        if store is None:
            raise NotFound("There is no such store, or it was deleted more than a week ago.")
        return store


def _make_version_error(error: RequestError) -> dict[str, str]:
    """Why a version was not changed; the explanation says what to do about it."""
    rules = " ".join(f"It {rule}." for _pointer, rule in error.errors)
    return {"code": error.code, "detail": f"{error.detail} {rules}".strip()}
