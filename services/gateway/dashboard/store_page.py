"""The page of one store: what it is, what happens to it, and the forms that change it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from aiohttp import web

from services.gateway.api.requests import identifier, path_id, store_ref
from services.gateway.api.routes import reveal, usage
from services.gateway.dashboard import view_models
from services.gateway.dashboard.page_shell import Frame, render
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
from storefleet.database import event_history, operations, stores, version_changes
from storefleet.engines.catalogue import Engines
from storefleet.http.app import REQUEST_ID
from storefleet.runtimes.protocol import Runtime

_EVENTS = 50
_LOG_LINES = 200
_LOOK_TIMEOUT = 3.0
_HISTORY = 10
FIXED = (
    "Here a store keeps the version that it was made with. For another one, create a new store, or run the platform on"
    " Kubernetes."
)


class StorePage:
    """Drawn whole, or as the fragment that an open page asks for when something happens."""

    def __init__(
        self,
        *,
        frame: Frame,
        admission: StoreAdmission,
        changes: VersionAdmission,
        engines: Engines,
        runtime: Runtime,
    ) -> None:
        self._frame = frame
        self._admission = admission
        self._changes = changes
        self._engines = engines
        self._runtime = runtime

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/stores/{ref}", self.page),
            web.get("/stores/{ref}/live", self.live),
            web.post("/stores/{ref}/delete", self.delete),
            web.post("/stores/{ref}/retry", self.retry),
            web.post("/stores/{ref}/upgrade", self.upgrade),
            web.post("/stores/{ref}/rollback", self.rollback),
            web.post("/stores/{ref}/credentials", self.credentials),
            web.post("/operations/{id}/cancel", self.cancel),
        )

    async def page(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, await self._frame.person(request))

    async def live(self, request: web.Request) -> web.StreamResponse:
        caller = await self._frame.person(request)
        store = await self._store(request, caller)
        return render("stores/_live.html", request, await self._data(request, caller, store))

    async def _page(
        self, request: web.Request, caller: Principal, *, status: int = 200, **more: Any
    ) -> web.StreamResponse:
        frame = await self._frame.context(
            request, caller
        )  # its seq first: what comes later is replayed, not missed
        store = await self._store(request, caller)
        context = {**frame, **await self._data(request, caller, store), **more}
        return render("stores/detail.html", request, context, status=status)

    async def _data(self, request: web.Request, caller: Principal, store: Store) -> dict[str, Any]:
        after = identifier(request, "history", OPERATION_PREFIX)
        async with self._frame.database.connection() as conn:
            latest = (await operations.find_latest_by_store(conn, [store.id])).get(store.id)
            events, _more = await event_history.list_store_events(
                conn, tenant_id=caller.tenant_id, store_id=store.id, limit=_EVENTS
            )
            entries, more = await version_changes.list_version_history(
                conn, store=store, limit=_HISTORY, starting_after=after
            )
            way_back = await version_changes.find_reversible_upgrade(conn, store)
        logs, taken = await asyncio.gather(self._log_lines(store), self._usage(store))
        return {
            "store": {
                **store.to_json(),
                "engine_title": view_models.title(store, self._engines.find(store.engine)),
            },
            "operation": view_models.operation(latest),
            "events": [view_models.event(event) for event in events],
            "logs": logs,
            "credentials": None,
            "versions": self._versions(store, way_back),
            "usage": taken,
            "history": view_models.history(entries, older=more, paged=after),
            "errors": [],
            "form": {},
            "csrf": caller.csrf,
        }

    def _versions(self, store: Store, way_back: Operation | None) -> dict[str, Any]:
        why_not = None if self._runtime.changes_versions else FIXED
        return view_models.versions(
            store, self._engines.find(store.engine), way_back=way_back, why_not=why_not
        )

    async def _usage(self, store: Store) -> dict[str, Any] | None:
        """None where neither a plan nor the place where stores run limits them."""
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT):
                shown = await usage(self._engines, self._runtime, store)
        except (RuntimeUnavailable, TimeoutError) as error:
            problem = f"It cannot be read at the moment. {error}".strip()
            return view_models.usage(
                {}, problem=f"{problem} The store is not touched by that; look again in a minute."
            )
        return (
            view_models.usage(shown) if shown["title"] or shown["resources"] is not None else None
        )

    async def _log_lines(self, store: Store) -> list[str]:
        """The page is of use without them, when the place where stores run is away."""
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT):
                return await self._runtime.logs(store, tail=_LOG_LINES)
        except (RuntimeUnavailable, TimeoutError) as error:
            return [f"The log cannot be read at the moment. {error}".strip()]

    async def delete(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._frame.acting(request)
        store = await self._store(request, caller)
        if form.get("confirm", "").strip() != store.name:
            errors = [{"pointer": "/confirm", "detail": f"Type “{store.name}” to confirm."}]
            return await self._page(request, caller, status=422, errors=errors, form=form)
        await self._admission.delete_store(
            caller, store_ref=store.id, request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def retry(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        store = await self._store(request, caller)
        await self._admission.retry_operation(
            caller, store_ref=store.id, request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._frame.acting(request)
        store = await self._store(request, caller)
        version = form.get("version", "")
        asked = self._changes.upgrade_store(
            caller, store_ref=store.id, version=version, request_id=request[REQUEST_ID]
        )
        return await self._changed(request, caller, asked, opened="upgrade", form=form)

    async def rollback(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._frame.acting(request)
        store = await self._store(request, caller)
        asked = self._changes.roll_back_store(
            caller,
            store_ref=store.id,
            restore=form.get("restore") == "true",
            discard_orders=form.get("discard_orders") == "true",
            request_id=request[REQUEST_ID],
        )
        return await self._changed(request, caller, asked, opened="rollback", form=form)

    async def _changed(
        self,
        request: web.Request,
        caller: Principal,
        asked: Awaitable[Accepted],
        *,
        opened: str,
        form: dict[str, str],
    ) -> web.StreamResponse:
        """On to the store's page, or back to the form that was refused."""
        try:
            accepted = await asked
        except (Conflict, InvalidRequest) as error:
            return await self._page(
                request,
                caller,
                status=422,
                version_errors=_refusal(error),
                opened=opened,
                form=form,
            )
        raise web.HTTPSeeOther(f"/stores/{accepted.store['id']}")

    async def credentials(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        store = await self._store(request, caller)
        shown = await reveal(
            self._frame.database, self._runtime, caller, store, request[REQUEST_ID]
        )
        return await self._page(request, caller, credentials=shown)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        operation = await self._admission.cancel_operation(
            caller, operation_id=path_id(request, OPERATION_PREFIX), request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{operation.store_id}")

    async def _store(self, request: web.Request, caller: Principal) -> Store:
        async with self._frame.database.connection() as conn:
            store = await stores.find_store(
                conn,
                tenant_id=caller.tenant_id,
                store_ref=store_ref(request),
                retention=self._frame.kept,
            )
        if store is None:
            raise NotFound("There is no such store, or it was deleted more than a week ago.")
        return store


def _refusal(error: RequestError) -> dict[str, str]:
    """Why a version was not changed; the explanation says what to do about it."""
    rules = " ".join(f"It {rule}." for _pointer, rule in error.errors)
    return {"code": error.code, "detail": f"{error.detail} {rules}".strip()}
