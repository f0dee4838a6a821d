"""Answers that several parts of the API give."""

from aiohttp import web

from storefleet.admission.acceptance import Accepted


def make_accepted_response(accepted_request: Accepted) -> web.Response:
    headers = {
        "Location": f"/api/v1/operations/{accepted_request.operation['id']}",
        "Retry-After": "1",
    }
    if accepted_request.replayed:
        headers["Idempotent-Replayed"] = "true"
    body = {"store": accepted_request.store, "operation": accepted_request.operation}
    return web.json_response(body, status=202, headers=headers)
