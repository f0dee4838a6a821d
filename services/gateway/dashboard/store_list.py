"""The list of stores and the form that creates a store."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway.dashboard.forms import get_idempotency_key, make_field_errors
from services.gateway.dashboard.page_shell import PageShell, render_template
from services.gateway.dashboard.view_models.create_form import (
    make_engine_view,
    make_url_preview,
    parse_form_parameters,
)
from services.gateway.dashboard.view_models.stores import make_store_view
from services.gateway.request_parameters import parse_id, parse_text
from storefleet.admission.requests import CreateStore
from storefleet.admission.stores import StoreAdmission
from storefleet.core.errors import Conflict, InvalidRequest, LimitExceeded, RequestError
from storefleet.core.identifiers import STORE_PREFIX
from storefleet.core.lifecycle import StoreState
from storefleet.core.models import Principal
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.http.problems import REQUEST_ID

_PAGE_SIZE = 25


class StoreListPage:
    """Shows the tenant's stores and creates new ones."""

    def __init__(
        self, *, page_shell: PageShell, admission: StoreAdmission, engines: EngineCatalogue
    ) -> None:
        self._page_shell = page_shell
        self._admission = admission
        self._engines = engines
        self._default_engine = engines.get_default_name(page_shell.settings.default_engine)

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the list and the form."""
        return (
            web.get("/stores", self.show_list),
            web.get("/stores/table", self.show_table),
            web.get("/stores/new", self.show_create_form),
            web.post("/stores/new", self.create_store),
        )

    async def show_list(self, request: web.Request) -> web.StreamResponse:
        """Show the list of stores."""
        user = await self._page_shell.require_signed_in_user(request)
        context = {
            **await self._page_shell.make_context(request, user),
            **await self._load_table(request, user),
        }
        return render_template("stores/list.html", request, context)

    async def show_table(self, request: web.Request) -> web.StreamResponse:
        """Show the table alone, for live updates."""
        user = await self._page_shell.require_signed_in_user(request)
        return render_template("stores/_table.html", request, await self._load_table(request, user))

    async def _load_table(self, request: web.Request, user: Principal) -> dict[str, Any]:
        query, state = parse_text(request, "q"), _parse_state_filter(request)
        starting_after = parse_id(request, "starting_after", STORE_PREFIX)
        async with self._page_shell.database.autocommit() as db:
            page, has_more = await db.stores.list_page(
                tenant_id=user.tenant_id,
                state=state,
                query=query,
                limit=_PAGE_SIZE,
                starting_after=starting_after,
            )
            latest = await db.operations.find_latest_by_store([store.id for store in page])
        quota = await self._admission.read_quota(user)
        return {
            "stores": [
                make_store_view(store, latest.get(store.id), self._engines.find(store.engine))
                for store in page
            ],
            "page": {
                "has_more": has_more,
                "next": page[-1].id if page else None,
                "q": query,
                "state": state,
                "starting_after": starting_after,
            },
            "quota": quota._asdict(),
        }

    async def show_create_form(self, request: web.Request) -> web.StreamResponse:
        """Show the form with the default engine selected."""
        user = await self._page_shell.require_signed_in_user(request)
        return await self._render_create_form(request, user, {"engine": self._default_engine})

    async def create_store(self, request: web.Request) -> web.StreamResponse:
        """Create a store and redirect to its page; show the form again if it has errors."""
        user, form = await self._page_shell.read_signed_in_form(request)
        try:
            engine = self._engines.get_offered(form.get("engine") or self._default_engine)
            accepted = await self._admission.create_store(
                user,
                CreateStore(
                    name=form.get("name", "").strip().lower(),
                    engine=engine.name,
                    parameters=parse_form_parameters(form, engine.name, engine.parameters),
                    version=form.get(f"version.{engine.name}") or None,
                    plan=form.get(f"plan.{engine.name}") or None,
                ),
                request_id=request[REQUEST_ID],
                idempotency_key=form.get("idempotency_key") or None,
            )
        except (InvalidRequest, Conflict, LimitExceeded) as error:
            return await self._render_create_form(request, user, form, error=error)
        raise web.HTTPSeeOther(f"/stores/{accepted.store_id}")

    async def _render_create_form(
        self,
        request: web.Request,
        user: Principal,
        form: dict[str, str],
        *,
        error: RequestError | None = None,
    ) -> web.StreamResponse:
        context = {
            **await self._page_shell.make_context(request, user),
            "form": form,
            "url_preview": make_url_preview(self._page_shell.settings),
            "errors": make_field_errors(error, self._get_parameter_names(form)),
            "idempotency_key": get_idempotency_key(form),
            "engines": [make_engine_view(engine) for engine in self._list_engines()],
            "quota": (await self._admission.read_quota(user))._asdict(),
        }
        status = 422 if error else 200
        return render_template("stores/new.html", request, context, status=status)

    def _list_engines(self) -> list[Engine]:
        """Return the engines, the default one first."""
        return sorted(self._engines, key=lambda engine: engine.name != self._default_engine)

    def _get_parameter_names(self, form: dict[str, str]) -> dict[str, str]:
        """Map the pointers of the chosen engine's parameters to the titles of their fields."""
        engine = self._engines.find(form.get("engine", ""))
        properties = engine.parameters.get("properties", {}) if engine else {}
        return {
            f"/parameters/{name}": f"{rule.get('title', name)}:"
            for name, rule in properties.items()
        }


def _parse_state_filter(request: web.Request) -> StoreState | None:
    """Return the state to filter by; an unknown one is ignored, so that old links still work."""
    state = request.query.get("state")
    return StoreState(state) if state in tuple(StoreState) else None
