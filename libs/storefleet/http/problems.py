"""Turn errors into responses: problem details (RFC 9457) and the headers that go with them.

`core/errors.py` defines the errors; the middleware in `app.py` catches them.
"""

import re

from aiohttp import web

from storefleet.core.errors import NotFound, RequestError, RequestTooLarge

#: The id of a request, in logs, responses and operations.
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)

_DEFAULT_RETRY_AFTER_S = 2


def make_problem_response(request: web.Request, problem: RequestError) -> web.Response:
    """Make the response of a failed request (RFC 9457, `application/problem+json`).

    Args:
        request: The request, with its id.
        problem: Why it failed.

    Returns:
        The response with the problem's status.
    """
    body = {
        "type": f"urn:storefleet:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "errors": [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors],
        "request_id": request[REQUEST_ID],
        "retryable": problem.retryable,
    }
    return web.json_response(
        body,
        status=problem.status,
        headers=make_problem_headers(problem),
        content_type="application/problem+json",
    )


def make_problem_headers(problem: RequestError) -> dict[str, str]:
    """Make the headers of a problem: caching, authentication, `Retry-After` and `Allow`.

    Args:
        problem: Why the request failed.

    Returns:
        Values by header name.
    """
    headers = {"Cache-Control": "no-store"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retry_after is not None or problem.status == 503:
        retry_after_s = problem.retry_after or _DEFAULT_RETRY_AFTER_S
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    if allow := getattr(problem, "allow", ""):
        headers["Allow"] = allow
    return headers


def convert_http_exception(error: web.HTTPException) -> RequestError:
    """Convert an exception of aiohttp, such as 404, 405 or 413, into a problem.

    Args:
        error: The exception, with a status of 400 or more.

    Returns:
        The problem with the same status; 405 keeps its `Allow` header.
    """
    if error.status == 413:
        return RequestTooLarge("The body is larger than 64 KiB.")
    if error.status == 404:
        return NotFound("Resource not found.")
    problem = RequestError(error.reason, code=re.sub(r"\W+", "_", error.reason.lower()))
    problem.status = error.status  # type: ignore[misc]  # 405 and others have no class of their own
    problem.title = error.reason  # type: ignore[misc]
    if isinstance(error, web.HTTPMethodNotAllowed):
        problem.allow = error.headers.get("Allow", "")  # type: ignore[attr-defined]
    return problem


def make_redirect(target: str, *, status: int = 303) -> web.Response:
    """Make a redirect. aiohttp's exceptions for it may be raised, but not returned.

    Args:
        target: The value of `Location`.
        status: The status, from 300 to 399.
    """
    return web.Response(status=status, headers={"Location": target})
