"""The list of stores, and the form of a new one."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway.api.requests import identifier, word
from services.gateway.dashboard import view_models
from services.gateway.dashboard.page_shell import Frame, form_key, render, shown_errors
from storefleet.admission.stores import StoreAdmission
from storefleet.core.errors import Conflict, InvalidRequest, LimitExceeded, RequestError
from storefleet.core.identifiers import STORE_PREFIX
from storefleet.core.models import STORE_STATES, Principal
from storefleet.database import operations, stores
from storefleet.engines.catalogue import Engines
from storefleet.http.app import REQUEST_ID

_PAGE = 25


class StoreList:
    """What a tenant has, and what it can have."""

    def __init__(self, *, frame: Frame, admission: StoreAdmission, engines: Engines) -> None:
        self._frame = frame
        self._admission = admission
        self._engines = engines
        self._default_engine = engines.default(frame.settings.default_engine)

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/stores", self.page),
            web.get("/stores/table", self.table),
            web.get("/stores/new", self.new_page),
            web.post("/stores/new", self.new),
        )

    async def page(self, request: web.Request) -> web.StreamResponse:
        caller = await self._frame.person(request)
        context = {
            **await self._frame.context(request, caller),
            **await self._data(request, caller),
        }
        return render("stores/list.html", request, context)

    async def table(self, request: web.Request) -> web.StreamResponse:
        caller = await self._frame.person(request)
        return render("stores/_table.html", request, await self._data(request, caller))

    async def _data(self, request: web.Request, caller: Principal) -> dict[str, Any]:
        query, state = word(request, "q"), word(request, "state", STORE_STATES)
        after = identifier(request, "starting_after", STORE_PREFIX)
        async with self._frame.database.connection() as conn:
            page, more = await stores.list_page(
                conn,
                tenant_id=caller.tenant_id,
                state=state,
                query=query,
                limit=_PAGE,
                starting_after=after,
            )
            latest = await operations.find_latest_by_store(conn, [store.id for store in page])
        quota = await self._admission.read_quota(caller)
        return {
            "stores": [
                view_models.store(store, latest.get(store.id), self._engines.find(store.engine))
                for store in page
            ],
            "page": {
                "has_more": more,
                "next": page[-1].id if page else None,
                "q": query,
                "state": state,
                "starting_after": after,
            },
            "quota": quota._asdict(),
        }

    async def new_page(self, request: web.Request) -> web.StreamResponse:
        caller = await self._frame.person(request)
        return await self._form(request, caller, {"engine": self._default_engine})

    async def new(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._frame.acting(request)
        try:
            engine = self._engines.get(form.get("engine") or self._default_engine)
            accepted = await self._admission.create_store(
                caller,
                name=form.get("name", "").strip().lower(),
                engine=engine.name,
                parameters=view_models.form_parameters(form, engine.name, engine.parameters),
                version=form.get(f"version.{engine.name}") or None,
                plan=form.get(f"plan.{engine.name}") or None,
                request_id=request[REQUEST_ID],
                idempotency_key=form.get("idempotency_key") or None,
            )
        except (InvalidRequest, Conflict, LimitExceeded) as error:
            return await self._form(request, caller, form, error=error)
        raise web.HTTPSeeOther(f"/stores/{accepted.store['id']}")

    async def _form(
        self,
        request: web.Request,
        caller: Principal,
        form: dict[str, str],
        *,
        error: RequestError | None = None,
    ) -> web.StreamResponse:
        context = {
            **await self._frame.context(request, caller),
            "form": form,
            "address": view_models.address(self._frame.settings),
            "errors": shown_errors(error, self._titles(form)),
            "idempotency_key": form_key(form),
            "engines": [
                view_models.engine(each)
                for each in sorted(
                    self._engines, key=lambda each: each.name != self._default_engine
                )
            ],
            "quota": (await self._admission.read_quota(caller))._asdict(),
        }
        return render("stores/new.html", request, context, status=422 if error else 200)

    def _titles(self, form: dict[str, str]) -> dict[str, str]:
        """What the fields of the chosen engine are called."""
        engine = self._engines.find(form.get("engine", ""))
        fields = engine.parameters.get("properties", {}) if engine else {}
        return {
            f"/parameters/{name}": f"{rule.get('title', name)}:" for name, rule in fields.items()
        }
