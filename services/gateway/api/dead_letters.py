"""`/dead-letters`: list, read and replay dead letters."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.responses import make_accepted_response, make_page_response
from services.gateway.request_parameters import get_path_id, parse_id, parse_number
from storefleet.admission.requests import RetryOperation
from storefleet.admission.stores import StoreAdmission
from storefleet.core.errors import Conflict, NotFound
from storefleet.core.identifiers import COMMAND_PREFIX, DEAD_LETTER_PREFIX, generate_id
from storefleet.core.models import Principal, format_timestamp, utc_now
from storefleet.database.outbox_rows import make_raw_message
from storefleet.database.pool import Database
from storefleet.database.repositories.dead_letters import DeadLetter
from storefleet.http.problems import REQUEST_ID

_PATH = "/api/v1/dead-letters"


class DeadLettersApi:
    """Handlers for dead letters: the tenant's own, or for operators those of all tenants."""

    def __init__(
        self, *, authorizer: Authorizer, database: Database, admission: StoreAdmission
    ) -> None:
        self._authorizer = authorizer
        self._database = database
        self._admission = admission

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of dead letters."""
        return (
            web.get(_PATH, self.list_dead_letters),
            web.get(f"{_PATH}/{{id}}", self.get_dead_letter),
            web.post(f"{_PATH}/{{id}}/replay", self.replay_dead_letter),
        )

    async def list_dead_letters(self, request: web.Request) -> web.Response:
        """Return a page of dead letters, newest first."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        async with self._database.autocommit() as db:
            page, has_more = await db.dead_letters.list_page(
                tenant_id=_get_tenant_filter(principal),
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", DEAD_LETTER_PREFIX),
            )
        return make_page_response(
            [_make_dead_letter_json(letter) for letter in page], has_more=has_more
        )

    async def get_dead_letter(self, request: web.Request) -> web.Response:
        """Return a dead letter with the payload of its message."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        letter_id = get_path_id(request, DEAD_LETTER_PREFIX)
        async with self._database.autocommit() as db:
            letter = await db.dead_letters.find(
                tenant_id=_get_tenant_filter(principal), letter_id=letter_id
            )
        if letter is None:
            raise NotFound("Dead letter not found.")
        payload = letter.payload.decode(errors="replace")
        return web.json_response({**_make_dead_letter_json(letter), "payload": payload})

    async def replay_dead_letter(self, request: web.Request) -> web.Response:
        """Retry the operation of a dead letter, or publish its unreadable message again.

        A retry is admitted in a transaction of its own, so the dead letter is marked afterwards. If
        the process ends in between, a second replay fails with `not_failed`.
        """
        principal = await self._authorizer.require_scope(request, "stores:write")
        letter_id = get_path_id(request, DEAD_LETTER_PREFIX)
        async with self._database.transaction() as tx:
            letter = await tx.dead_letters.find(
                tenant_id=_get_tenant_filter(principal), letter_id=letter_id, lock=True
            )
            if letter is None:
                raise NotFound("Dead letter not found.")
            if letter.replayed_at is not None:
                raise Conflict(
                    "The dead letter was already replayed. Each one can be replayed once.",
                    code="already_replayed",
                )
            if letter.operation_id is None or letter.store_id is None:
                await tx.outbox.add(
                    make_raw_message(generate_id(COMMAND_PREFIX), letter.subject, letter.payload)
                )
                await tx.dead_letters.mark_replayed(letter.id)
                return web.json_response(
                    {
                        **_make_dead_letter_json(letter),
                        "replayed_at": format_timestamp(utc_now()),
                    },
                    status=202,
                )
        owner = principal.model_copy(update={"tenant_id": letter.tenant_id})
        accepted = await self._admission.retry_operation(
            owner, RetryOperation(store_ref=letter.store_id), request_id=request[REQUEST_ID]
        )
        async with self._database.transaction() as tx:
            await tx.dead_letters.mark_replayed(letter.id)
        return make_accepted_response(accepted)


def _get_tenant_filter(principal: Principal) -> str | None:
    """Return the tenant whose dead letters are visible; None (all tenants) for operators."""
    return None if principal.has_scope("operator") else principal.tenant_id


def _make_dead_letter_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "tenant_id": letter.tenant_id,
        "store_id": letter.store_id,
        "operation_id": letter.operation_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "subject": letter.subject,
        "created_at": format_timestamp(letter.created_at),
        "replayed_at": format_timestamp(letter.replayed_at),
    }
