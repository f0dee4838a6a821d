"""`/stores/{ref}/upgrade`, `/rollback` and `/history`: the engine version of a store."""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.request_models import RollBackStoreBody, UpgradeStoreBody, parse_body
from services.gateway.api.responses import make_accepted_response, make_page_response
from services.gateway.request_parameters import get_store_ref, parse_id, parse_number
from services.gateway.store_lookup import StoreLookup
from storefleet.admission.requests import RollBackStore, UpgradeStore
from storefleet.admission.versions import VersionAdmission
from storefleet.core.identifiers import OPERATION_PREFIX
from storefleet.database.pool import Database
from storefleet.http.problems import REQUEST_ID
from storefleet.http.validation import read_json

_PATH = "/api/v1/stores/{ref}"


class VersionsApi:
    """Handlers that change the engine version of a store and list its changes.

    Each handler looks up the store before it reads the body, so that a missing store is reported
    before an invalid body.
    """

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        database: Database,
        admission: VersionAdmission,
        lookup: StoreLookup,
    ) -> None:
        self._authorizer = authorizer
        self._database = database
        self._admission = admission
        self._lookup = lookup

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of version changes."""
        return (
            web.post(f"{_PATH}/upgrade", self.upgrade_store),
            web.post(f"{_PATH}/rollback", self.roll_back_store),
            web.get(f"{_PATH}/history", self.list_version_history),
        )

    async def upgrade_store(self, request: web.Request) -> web.Response:
        """Accept an upgrade of a store."""
        principal = await self._authorizer.require_scope(request, "stores:write")
        await self._lookup.get_store(request, principal)
        body = parse_body(UpgradeStoreBody, await read_json(request))
        accepted = await self._admission.upgrade_store(
            principal,
            UpgradeStore(store_ref=get_store_ref(request), version=body.version),
            request_id=request[REQUEST_ID],
        )
        return make_accepted_response(accepted)

    async def roll_back_store(self, request: web.Request) -> web.Response:
        """Accept a rollback of a store to the version before its last upgrade."""
        principal = await self._authorizer.require_scope(request, "stores:write")
        await self._lookup.get_store(request, principal)
        body = parse_body(RollBackStoreBody, await read_json(request))
        accepted = await self._admission.roll_back_store(
            principal,
            RollBackStore(
                store_ref=get_store_ref(request),
                restore=body.restore,
                discard_orders=body.discard_orders,
            ),
            request_id=request[REQUEST_ID],
        )
        return make_accepted_response(accepted)

    async def list_version_history(self, request: web.Request) -> web.Response:
        """Return a page of the creation, upgrades and rollbacks of a store, newest first."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        store = await self._lookup.get_store(request, principal)
        async with self._database.autocommit() as db:
            page, has_more = await db.version_history.list_page(
                store=store,
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", OPERATION_PREFIX),
            )
        return make_page_response([entry.to_json() for entry in page], has_more=has_more)
