"""A gateway and a notifier whose responses are scripted by the tests."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import WSCloseCode, web

TOKEN = "sft_secret_of_the_tests"
TIME = "2026-01-02T03:04:05.000Z"
STORE = "sto_0000000000000001"
OPERATION = "op_0000000000000001"


def make_store(name: str = "acme", state: str = "requested", **changes: Any) -> dict[str, Any]:
    return {
        "id": STORE,
        "name": name,
        "engine": "oscar",
        "engine_version": "1",
        "state": state,
        "url": f"http://{name}.localhost:8100/" if state == "ready" else None,
        "admin_url": None,
        "failure": None,
        "created_at": TIME,
        "ready_at": None,
        "version": 1,
        **changes,
    }


def make_operation(state: str = "queued", kind: str = "create", **changes: Any) -> dict[str, Any]:
    states = {"succeeded": ("succeeded", "succeeded"), "queued": ("pending", "pending")}
    first, second = states.get(state, ("succeeded", state))
    steps = [
        {
            "name": "a",
            "title": "Lay the floor",
            "state": first,
            "started_at": TIME,
            "finished_at": TIME,
            "message": "",
        },
        {
            "name": "b",
            "title": "Open",
            "state": second,
            "started_at": None,
            "finished_at": None,
            "message": "x\x1b[2J",
        },
    ]
    error = {
        "code": "no_door",
        "detail": "There is no door.",
        "step": "Open",
        "next": "Build one.",
        "retryable": True,
    }
    return {
        "id": OPERATION,
        "store_id": STORE,
        "kind": kind,
        "state": state,
        "done": state in ("succeeded", "failed", "cancelled"),
        "error": error if state == "failed" else None,
        "attempt": 1,
        "steps": steps,
        "created_at": TIME,
        "started_at": TIME,
        "finished_at": TIME,
        **changes,
    }


def problem(
    status: int,
    code: str,
    detail: str = "No.",
    *,
    errors: Sequence[tuple[str, str]] = (),
    **headers: str,
) -> web.Response:
    body = {
        "title": "No",
        "status": status,
        "code": code,
        "detail": detail,
        "errors": [{"pointer": pointer, "detail": text} for pointer, text in errors],
        "request_id": "req_of_double",
    }
    return web.json_response(
        body, status=status, headers=headers, content_type="application/problem+json"
    )


class ScriptedGateway:
    """Answers by script: the last entry of `answers[method, path]` repeats; CUT disconnects."""

    CUT = object()

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.history: list[dict[str, Any]] = []
        self.asked_after: list[int | None] = []
        self.cut_after: list[int] = []
        self.refuse_events = 0
        self.url = ""

    @property
    def live_url(self) -> str:
        return self.url.replace("http", "ws") + "/api/v1/events"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "STOREFLEET_URL": self.url,
            "STOREFLEET_LIVE_URL": self.live_url,
            "STOREFLEET_TOKEN": TOKEN,
        }

    def on(self, method: str, path: str, *answers: Any) -> None:
        self.answers[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[tuple[str, str, dict[str, str], Any]]:
        return [request for request in self.requests if request[:2] == (method, path)]

    def event(self, seq: int, operation: dict[str, Any] | None = None, **changes: Any) -> None:
        data = {"store": make_store(), **({"operation": operation} if operation else {})}
        frame = {
            "seq": seq,
            "type": "store.step",
            "time": TIME,
            "store_id": STORE,
            "operation_id": OPERATION,
        }
        self.history.append({**frame, "data": data, **changes})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "unauthenticated", "The token is not valid.")
        path = request.path.removeprefix("/api/v1")
        body = json.loads(await request.read() or "null")
        self.requests.append(
            (request.method, path, {k: str(v) for k, v in request.headers.items()}, body)
        )
        script = self.answers.get((request.method, path))
        if script is None:
            return problem(404, "not_found", "There is no such thing.")
        said = script.pop(0) if len(script) > 1 else script[0]
        if said is self.CUT and request.transport is not None:
            request.transport.abort()
            return web.Response()
        if isinstance(said, web.Response):
            return _copy(said)  # a response can be sent once
        return web.json_response(said, status=202 if request.method != "GET" else 200)

    async def events(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "unauthenticated")
        if self.refuse_events:
            self.refuse_events -= 1
            return problem(503, "unavailable")
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        after, last = (
            int(request.query["after"]),
            max((frame["seq"] for frame in self.history), default=0),
        )
        self.asked_after.append(after)
        if after > last:
            await ws.send_json({"type": "reset", "seq": last})
            after = last
        most, sent = self.cut_after.pop(0) if self.cut_after else None, 0
        while not ws.closed:
            for frame in [frame for frame in self.history if frame["seq"] > after]:
                if sent == most:
                    await ws.close(code=WSCloseCode.SERVICE_RESTART)
                    return ws
                await ws.send_json(frame)
                after, sent = frame["seq"], sent + 1
            try:
                await ws.receive(timeout=0.02)
            except TimeoutError:
                continue
        return ws

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/events", self.events)
        app.router.add_route("*", "/{rest:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()


def _copy(response: web.Response) -> web.Response:
    headers = {k: v for k, v in response.headers.items() if k in ("Content-Type", "Retry-After")}
    return web.Response(status=response.status, body=response.body, headers=headers)


@contextmanager
def run_scripted_gateway() -> Iterator[ScriptedGateway]:
    """Run the gateway in a thread, because the command line blocks the calling one."""
    double, ready, loop, stop = (
        ScriptedGateway(),
        threading.Event(),
        asyncio.new_event_loop(),
        asyncio.Event(),
    )
    thread = threading.Thread(
        target=loop.run_until_complete, args=(double.serve(ready, stop),), daemon=True
    )
    thread.start()
    assert ready.wait(10)
    try:
        yield double
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
