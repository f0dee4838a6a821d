"""Answers that several parts of the API give."""

from aiohttp import web

from storefleet.admission.acceptance import Accepted


def accepted(taken: Accepted) -> web.Response:
    headers = {"Location": f"/api/v1/operations/{taken.operation['id']}", "Retry-After": "1"}
    if taken.replayed:
        headers["Idempotent-Replayed"] = "true"
    body = {"store": taken.store, "operation": taken.operation}
    return web.json_response(body, status=202, headers=headers)
