"""The page of one store: what it is, what happens to it, and the forms that change it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway import views
from services.gateway.api import reveal
from services.gateway.frame import Frame, render
from services.gateway.requests import path_id, store_ref
from storefleet.admission import Admission
from storefleet.database import history, operations, stores
from storefleet.errors import NotFound, RuntimeAway
from storefleet.identifiers import OPERATION
from storefleet.models import Caller, Store
from storefleet.runtimes.base import Runtime
from storefleet.web import REQUEST_ID

_EVENTS = 50
_LOG_LINES = 200
_LOG_TIMEOUT = 3.0


class StorePage:
    """Drawn whole, or as the fragment that an open page asks for when something happens."""

    def __init__(self, *, frame: Frame, admission: Admission, runtime: Runtime) -> None:
        self._frame = frame
        self._admission = admission
        self._runtime = runtime

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/stores/{ref}", self.page),
            web.get("/stores/{ref}/live", self.live),
            web.post("/stores/{ref}/delete", self.delete),
            web.post("/stores/{ref}/retry", self.retry),
            web.post("/stores/{ref}/credentials", self.credentials),
            web.post("/operations/{id}/cancel", self.cancel),
        )

    async def page(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, await self._frame.person(request))

    async def live(self, request: web.Request) -> web.StreamResponse:
        caller = await self._frame.person(request)
        store = await self._store(request, caller)
        return render("stores/_live.html", request, await self._data(caller, store))

    async def _page(
        self, request: web.Request, caller: Caller, *, status: int = 200, **more: Any
    ) -> web.StreamResponse:
        frame = await self._frame.context(request, caller)  # its seq first: what comes later is replayed, not missed
        store = await self._store(request, caller)
        context = {**frame, **await self._data(caller, store), **more}
        return render("stores/detail.html", request, context, status=status)

    async def _data(self, caller: Caller, store: Store) -> dict[str, Any]:
        async with self._frame.database.connection() as conn:
            latest = (await operations.latest_of_stores(conn, [store.id])).get(store.id)
            events, _more = await history.of_store(conn, tenant_id=caller.tenant_id, store_id=store.id, limit=_EVENTS)
        return {
            "store": store.to_json(),
            "operation": views.operation(latest),
            "events": [views.event(event) for event in events],
            "logs": await self._log_lines(store),
            "credentials": None,
            "errors": [],
            "form": {},
            "csrf": caller.csrf,
            "domain": self._frame.settings.store_domain,
        }

    async def _log_lines(self, store: Store) -> list[str]:
        """The page is of use without them, when the place where stores run is away."""
        try:
            async with asyncio.timeout(_LOG_TIMEOUT):
                return await self._runtime.logs(store, tail=_LOG_LINES)
        except (RuntimeAway, TimeoutError) as error:
            return [f"The log cannot be read at the moment. {error}".strip()]

    async def delete(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._frame.acting(request)
        store = await self._store(request, caller)
        if form.get("confirm", "").strip() != store.name:
            errors = [{"pointer": "/confirm", "detail": f"Type “{store.name}” to confirm."}]
            return await self._page(request, caller, status=422, errors=errors, form=form)
        await self._admission.delete(caller, ref=store.id, request_id=request[REQUEST_ID])
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def retry(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        store = await self._store(request, caller)
        await self._admission.retry(caller, ref=store.id, request_id=request[REQUEST_ID])
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def credentials(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        store = await self._store(request, caller)
        shown = await reveal(self._frame.database, self._runtime, caller, store, request[REQUEST_ID])
        return await self._page(request, caller, credentials=shown)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        operation = await self._admission.cancel(
            caller, operation_id=path_id(request, OPERATION), request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{operation.store_id}")

    async def _store(self, request: web.Request, caller: Caller) -> Store:
        async with self._frame.database.connection() as conn:
            store = await stores.find(conn, tenant_id=caller.tenant_id, ref=store_ref(request), kept=self._frame.kept)
        if store is None:
            raise NotFound("There is no such store, or it was deleted more than a week ago.")
        return store
