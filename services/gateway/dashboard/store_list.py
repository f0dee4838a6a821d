"""The list of stores, and the form of a new one."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway.request_parameters import parse_id, parse_text
from services.gateway.dashboard import view_models
from services.gateway.dashboard.page_shell import (
    PageShell,
    get_idempotency_key,
    make_field_errors,
    render_template,
)
from storefleet.admission.stores import StoreAdmission
from storefleet.core.errors import Conflict, InvalidRequest, LimitExceeded, RequestError
from storefleet.core.identifiers import STORE_PREFIX
from storefleet.core.models import STORE_STATES, Principal
from storefleet.engines.catalogue import Engines
from storefleet.http.app import REQUEST_ID

_PAGE_SIZE = 25


class StoreListPage:
    """What a tenant has, and what it can have."""

    def __init__(
        self, *, page_shell: PageShell, admission: StoreAdmission, engines: Engines
    ) -> None:
        self._page_shell = page_shell
        self._admission = admission
        self._engines = engines
        self._default_engine = engines.default(page_shell.settings.default_engine)

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/stores", self.show_list),
            web.get("/stores/table", self.show_table),
            web.get("/stores/new", self.show_create_form),
            web.post("/stores/new", self.create_store),
        )

    async def show_list(self, request: web.Request) -> web.StreamResponse:
        caller = await self._page_shell.require_signed_in_user(request)
        context = {
            **await self._page_shell.make_context(request, caller),
            **await self._load_table(request, caller),
        }
        return render_template("stores/list.html", request, context)

    async def show_table(self, request: web.Request) -> web.StreamResponse:
        caller = await self._page_shell.require_signed_in_user(request)
        return render_template(
            "stores/_table.html", request, await self._load_table(request, caller)
        )

    async def _load_table(self, request: web.Request, principal: Principal) -> dict[str, Any]:
        query, state = parse_text(request, "q"), parse_text(request, "state", STORE_STATES)
        after = parse_id(request, "starting_after", STORE_PREFIX)
        async with self._page_shell.database.autocommit() as db:
            page, more = await db.stores.list_page(
                tenant_id=principal.tenant_id,
                state=state,
                query=query,
                limit=_PAGE_SIZE,
                starting_after=after,
            )
            latest = await db.operations.find_latest_by_store([store.id for store in page])
        quota = await self._admission.read_quota(principal)
        return {
            "stores": [
                view_models.make_store_view(
                    store, latest.get(store.id), self._engines.find(store.engine)
                )
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

    async def show_create_form(self, request: web.Request) -> web.StreamResponse:
        caller = await self._page_shell.require_signed_in_user(request)
        return await self._render_create_form(request, caller, {"engine": self._default_engine})

    async def create_store(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._page_shell.read_signed_in_form(request)
        try:
            engine = self._engines.get(form.get("engine") or self._default_engine)
            accepted = await self._admission.create_store(
                caller,
                name=form.get("name", "").strip().lower(),
                engine=engine.name,
                parameters=view_models.parse_form_parameters(form, engine.name, engine.parameters),
                version=form.get(f"version.{engine.name}") or None,
                plan=form.get(f"plan.{engine.name}") or None,
                request_id=request[REQUEST_ID],
                idempotency_key=form.get("idempotency_key") or None,
            )
        except (InvalidRequest, Conflict, LimitExceeded) as error:
            return await self._render_create_form(request, caller, form, error=error)
        raise web.HTTPSeeOther(f"/stores/{accepted.store['id']}")

    async def _render_create_form(
        self,
        request: web.Request,
        principal: Principal,
        form: dict[str, str],
        *,
        error: RequestError | None = None,
    ) -> web.StreamResponse:
        context = {
            **await self._page_shell.make_context(request, principal),
            "form": form,
            "address": view_models.make_url_preview(self._page_shell.settings),
            "errors": make_field_errors(error, self._get_parameter_names(form)),
            "idempotency_key": get_idempotency_key(form),
            "engines": [
                view_models.make_engine_view(each)
                for each in sorted(
                    self._engines, key=lambda each: each.name != self._default_engine
                )
            ],
            "quota": (await self._admission.read_quota(principal))._asdict(),
        }
        return render_template("stores/new.html", request, context, status=422 if error else 200)

    def _get_parameter_names(self, form: dict[str, str]) -> dict[str, str]:
        """What the fields of the chosen engine are called."""
        engine = self._engines.find(form.get("engine", ""))
        fields = engine.parameters.get("properties", {}) if engine else {}
        return {
            f"/parameters/{name}": f"{rule.get('title', name)}:" for name, rule in fields.items()
        }
