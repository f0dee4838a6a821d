"""A Kubernetes API server in memory: objects, apply, paged lists, and watches that break."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

Object = dict[str, Any]
Refusal = Callable[[web.Request], tuple[int, str] | None]


class FakeApiServer:
    """`asked` records the requests; `refuse` may answer a request instead."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.asked: list[tuple[str, str]] = []
        self.logs: dict[str, str] = {}
        self.refuse: Refusal | None = None
        self.ready = True
        self.delay = 0.0
        self.port = 0
        self.page = 1000
        self._version = 1
        self._oldest = 0
        self._history: list[tuple[int, str, str, Object]] = []
        self._changed = asyncio.Condition()
        self._streams: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None

    async def put(self, path: str, content: Object) -> Object:
        """Create or replace an object, as a controller would."""
        known = self.objects.get(path)
        self._version += 1
        name = path.rpartition("/")[2]
        metadata = {"uid": f"uid-{self._version}", **content.get("metadata", {}), "name": name}
        if "/namespaces/" in path:
            metadata.setdefault("namespace", path.partition("/namespaces/")[2].partition("/")[0])
        if known:
            metadata["uid"] = known["metadata"]["uid"]
        metadata["resourceVersion"] = str(self._version)
        self.objects[path] = {**content, "metadata": metadata}
        await self._note("MODIFIED" if known else "ADDED", path)
        return self.objects[path]

    async def take(self, path: str) -> None:
        self._version += 1
        gone = self.objects.pop(path)
        await self._note("DELETED", path, gone)

    async def forget(self) -> None:
        """Expire all resource versions: a later watch gets 410 Gone."""
        self._version += 1
        self._oldest = self._version

    async def bookmark(self) -> None:
        self._version += 1
        await self._note("BOOKMARK", "")

    async def cut(self) -> None:
        """Break every open watch."""
        for stream in list(self._streams):
            stream.cancel()
        await asyncio.sleep(0)

    def count(self, method: str, part: str) -> int:
        return sum(each == method and part in path for each, path in self.asked)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, folder: Path) -> str:
        path = folder / "kubeconfig"
        named = {"name": "fake"}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{**named, "user": {"token": "let-me-in"}}],
            "contexts": [{**named, "context": {"cluster": "fake", "user": "fake"}}],
        }
        path.write_text(json.dumps(content))
        return str(path)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        await asyncio.sleep(self.delay)
        if self.refuse and (refused := self.refuse(request)):
            return _status(*refused)
        if request.path == "/readyz":
            return web.Response(text="ok") if self.ready else _status(500, "not ready")
        if request.path.endswith("/log"):
            return self._log(request)
        if request.query.get("watch"):
            return await self._watch(request)
        handler = getattr(self, f"_{request.method.lower()}")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _get(self, request: web.Request) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if request.path.rpartition("/")[2] in _LISTED:
            return self._list(request)
        return _status(404, f"{request.path} not found")

    def _list(self, request: web.Request) -> web.Response:
        found = sorted(path for path in self.objects if _fits(path, self.objects[path], request))
        begin = int(request.query.get("continue") or 0)
        end = begin + min(self.page, int(request.query.get("limit") or self.page))
        metadata = {
            "resourceVersion": str(self._version),
            "continue": str(end) if end < len(found) else "",
        }
        return web.json_response(
            {"metadata": metadata, "items": [self.objects[path] for path in found[begin:end]]}
        )

    async def _patch(self, request: web.Request) -> web.Response:
        known, body = self.objects.get(request.path), await request.json()
        if "apply" not in request.content_type:
            if known is None:
                return _status(404, f"{request.path} not found")
            body = _merged(known, body)
        made = await self.put(request.path, _data(body))
        return web.json_response(made, status=200 if known else 201)

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        path = f"{request.path}/{body['metadata']['name']}"
        if path in self.objects:
            return _status(409, f"{path} already exists")
        return web.json_response(await self.put(path, _data(body)), status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.path.rpartition("/")[2] in _LISTED:
            for path in [path for path in self.objects if path.startswith(f"{request.path}/")]:
                await self.take(path)
            return web.json_response({})
        known = self.objects.get(request.path)
        if known is None:
            return _status(404, f"{request.path} not found")
        if body["preconditions"]["uid"] != known["metadata"]["uid"]:
            return _status(409, "the UID in the precondition does not match")
        await self.take(request.path)
        return web.json_response({})

    def _log(self, request: web.Request) -> web.Response:
        key = request.path.split("/")[-2] + ("!" if request.query.get("previous") else "")
        if key not in self.logs:
            return _status(400, "the container has not begun")
        return web.Response(text=self.logs[key])

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                await self._stream(request, response)
        except TimeoutError:
            await response.write_eof()
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(task)
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse) -> None:
        version = int(request.query["resourceVersion"])
        if version < self._oldest:
            gone = {
                "kind": "Status",
                "code": 410,
                "message": "too old resource version",
                "metadata": {},
            }
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return
        while True:
            for at, kind, path, content in list(self._history):
                if at > version and (kind == "BOOKMARK" or _fits(path, content, request)):
                    await response.write(
                        json.dumps({"type": kind, "object": content}).encode() + b"\n"
                    )
            version = max([version, *(at for at, *_ in self._history)])
            async with self._changed:
                await self._changed.wait_for(
                    lambda v=version: self._history and self._history[-1][0] > v
                )

    async def _note(self, kind: str, path: str, content: Object | None = None) -> None:
        known = content or self.objects.get(path, {"metadata": {}})
        shown = {**known, "metadata": {**known["metadata"], "resourceVersion": str(self._version)}}
        self._history.append((self._version, kind, path, shown))
        async with self._changed:
            self._changed.notify_all()


_LISTED = {
    *(
        "namespaces",
        "pods",
        "deployments",
        "statefulsets",
        "replicasets",
        "jobs",
        "secrets",
        "events",
        "resourcequotas",
    ),
    *(
        "persistentvolumes",
        "cronjobs",
        "clusterroles",
        "clusterrolebindings",
        "persistentvolumeclaims",
    ),
}


def _fits(path: str, content: Object, request: web.Request) -> bool:
    """Return whether the object matches the requested kind, namespace and labels."""
    root, _, plural = request.path.rpartition("/")
    parts = path.split("/")
    if parts[-2] != plural or not path.startswith(
        root if "/namespaces/" in root else root.split("/namespaces")[0]
    ):
        return False
    labels = content["metadata"].get("labels", {})
    for wanted in filter(None, request.query.get("labelSelector", "").split(",")):
        name, equals, value = wanted.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def _merged(known: Object, change: Object) -> Object:
    merged = {**known}
    for name, value in change.items():
        merged[name] = _merged(known.get(name) or {}, value) if isinstance(value, dict) else value
    return merged


def _data(body: Object) -> Object:
    """Encode `stringData` of a Secret as base64, as the API server does."""
    text = body.pop("stringData", {})
    if text:
        body["data"] = {
            **body.get("data", {}),
            **{k: base64.b64encode(v.encode()).decode() for k, v in text.items()},
        }
    if body.get("kind") == "ResourceQuota":
        body["status"] = {"hard": body["spec"]["hard"], "used": {}}
    return body


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def run_fake_api_server() -> AsyncIterator[FakeApiServer]:
    cluster = FakeApiServer()
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()
