"""Responses that several resources of the API share."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from storefleet.admission.acceptance import Accepted, Replayed

#: For responses with secrets: no cache may keep them.
NO_STORE = {"Cache-Control": "no-store"}


def make_accepted_response(accepted: Accepted | Replayed) -> web.Response:
    """Make the 202 response of a long-running request: store, operation and `Location`."""
    headers = {"Retry-After": "1"}
    if isinstance(accepted, Replayed):
        headers["Idempotent-Replayed"] = "true"
        body = {"store": accepted.store, "operation": accepted.operation}
    else:
        body = {"store": accepted.store.to_json(), "operation": accepted.operation.to_json()}
    headers["Location"] = f"/api/v1/operations/{body['operation']['id']}"
    return web.json_response(body, status=202, headers=headers)


def make_page_response(entries: Sequence[dict[str, Any]], *, has_more: bool) -> web.Response:
    """Make the response of a list request."""
    return web.json_response({"data": list(entries), "has_more": has_more})
