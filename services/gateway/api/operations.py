"""`/operations`: list, read, await and cancel operations."""

import asyncio
import time
from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.responses import make_page_response
from services.gateway.request_parameters import get_path_id, parse_choice, parse_id, parse_number
from storefleet.admission.requests import CancelOperation
from storefleet.admission.stores import StoreAdmission
from storefleet.core.errors import NotFound
from storefleet.core.identifiers import OPERATION_PREFIX, STORE_PREFIX
from storefleet.core.lifecycle import OperationState
from storefleet.core.models import Operation
from storefleet.database.pool import Database
from storefleet.http.problems import REQUEST_ID

_PATH = "/api/v1/operations"
_MAX_WAIT_S = 60
_FIRST_PAUSE_S = 0.05
_MAX_PAUSE_S = 0.5


class OperationsApi:
    """Handlers for the operations of the principal's tenant."""

    def __init__(
        self, *, authorizer: Authorizer, database: Database, admission: StoreAdmission
    ) -> None:
        self._authorizer = authorizer
        self._database = database
        self._admission = admission

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of operations."""
        return (
            web.get(_PATH, self.list_operations),
            web.get(f"{_PATH}/{{id}}", self.get_operation),
            web.post(f"{_PATH}/{{id}}/cancel", self.cancel_operation),
        )

    async def list_operations(self, request: web.Request) -> web.Response:
        """Return a page of the tenant's operations, filtered by store and state."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        async with self._database.autocommit() as db:
            page, has_more = await db.operations.list_page(
                tenant_id=principal.tenant_id,
                store_id=parse_id(request, "store_id", STORE_PREFIX),
                state=parse_choice(request, "state", OperationState),
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", OPERATION_PREFIX),
            )
        return make_page_response([operation.to_json() for operation in page], has_more=has_more)

    async def get_operation(self, request: web.Request) -> web.Response:
        """Return an operation; with `?wait=<seconds>` when it is done, or after that time."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        operation_id = get_path_id(request, OPERATION_PREFIX)
        wait_s = parse_number(request, "wait", 0, 0, _MAX_WAIT_S)
        operation = await self._wait_until_done(principal.tenant_id, operation_id, wait_s)
        return web.json_response(operation.to_json())

    async def _wait_until_done(self, tenant_id: str, operation_id: str, wait_s: float) -> Operation:
        """Poll with growing pauses; a connection is held for each read only, not for the wait."""
        deadline = time.monotonic() + wait_s
        pause_s = _FIRST_PAUSE_S
        while True:
            async with self._database.autocommit() as db:
                operation = await db.operations.find(tenant_id=tenant_id, operation_id=operation_id)
            if operation is None:
                raise NotFound("Operation not found.")
            if operation.done or time.monotonic() >= deadline:
                return operation
            await asyncio.sleep(min(pause_s, max(0.01, deadline - time.monotonic())))
            pause_s = min(_MAX_PAUSE_S, pause_s * 1.3)

    async def cancel_operation(self, request: web.Request) -> web.Response:
        """Cancel an operation: 200 if it is done now, 202 if its worker still has to stop."""
        principal = await self._authorizer.require_scope(request, "stores:write")
        operation = await self._admission.cancel_operation(
            principal,
            CancelOperation(operation_id=get_path_id(request, OPERATION_PREFIX)),
            request_id=request[REQUEST_ID],
        )
        return web.json_response(operation.to_json(), status=200 if operation.done else 202)
