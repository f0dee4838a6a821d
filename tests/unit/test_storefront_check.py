"""The storefront check: which responses pass."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from storefleet.core.errors import TransientError
from storefleet.engines.descriptor import Engine
from storefleet.engines.store_pages import CheckedPage, StoreChecks
from storefleet.runtimes.protocol import StepContext
from storefleet.runtimes.storefront_check import StorefrontCheck
from tests.support.cluster.samples import a_store, pocket

HOST = "acme.localhost"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        if request.host != HOST:
            return web.Response(status=404)
        pages = {
            "/": web.Response(text="Pocket teapot"),
            "/admin/login/": web.Response(text="Sign in to Pocket"),
            "/storefleet/health": web.Response(text='{"database":"ok"}'),
            "/large": web.Response(text="x" * 1_500_000 + "teapot"),
            "/endless": web.Response(text="x" * 3_000_000 + "teapot"),
            "/away": web.Response(status=302, headers={"Location": "/"}),
            "/asked": web.Response(
                text=" ".join(f"{k.lower()}={v}" for k, v in request.headers.items())
            ),
        }
        return pages.get(request.path, web.Response(status=500))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def problem(server: str, path: str, expect: str = "teapot", host: str = HOST) -> str | None:
    async with StorefrontCheck(scheme="https").open_resources() as visitor:
        return await visitor.find_problem(
            CheckedPage(path=path, expect=expect), server=server, host=host, request_id="op_1"
        )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", None),
        ("/large", None),
        ("/endless", "does not show “teapot”"),
        ("/away", "answers 302"),
        ("/broken", "answers 500"),
    ],
)
async def test_page_text_decides_result(server: str, path: str, found: str | None) -> None:
    assert await problem(server, path) == found


async def test_request_uses_store_host_and_scheme(server: str) -> None:
    assert await problem(server, "/", host="other.localhost") == "answers 404"
    for header in ("x-request-id=op_1", "x-forwarded-proto=https"):
        assert await problem(server, "/asked", header) is None


async def test_unreachable_store_fails_check() -> None:
    found = await problem("http://127.0.0.1:1", "/")
    assert found is not None
    assert found.startswith("does not answer")


async def test_lost_connection_is_retried_soon() -> None:
    """The first SYN is dropped, as by a node without the Service; the kernel retries after 1 s."""
    listener = socket.create_server(
        ("127.0.0.1", 0), backlog=0
    )  # a backlog of one: the SYN of the next connection is dropped
    port = listener.getsockname()[1]

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nteapot")
        writer.close()

    with listener, socket.create_connection(("127.0.0.1", port), timeout=1):
        asked = asyncio.create_task(problem(f"http://127.0.0.1:{port}", "/"))
        await asyncio.sleep(0.2)
        assert not asked.done()
        began = time.monotonic()
        async with await asyncio.start_server(greet, sock=listener):
            assert await asked is None
            assert time.monotonic() - began < 0.7


async def test_failed_check_is_retried_and_reported(server: str) -> None:
    said: list[str] = []

    async def say(message: str) -> None:
        said.append(message)

    work = StepContext(store=a_store(), operation_id="op_1", report_progress=say)
    async with StorefrontCheck(timeout_s=0.3).open_resources() as visitor:
        await visitor.wait_until_healthy(work, pocket(), server=server, host=HOST)
        assert said == []
        with pytest.raises(TransientError, match="The storefront answers 404") as error:
            await visitor.wait_until_healthy(work, pocket(), server=server, host="other.localhost")
    assert error.value.code == "store_not_answering"
    assert said[0] == "Waiting for the storefront: it answers 404"


@pytest.mark.parametrize("kind", ["installed", "healthy"])
async def test_check_of_new_store_requires_each_text(server: str, kind: str) -> None:
    work = StepContext(store=a_store(), operation_id="op_1")

    def with_text(expect: str) -> Engine:
        page = CheckedPage(path="/large", expect=expect)
        return pocket().model_copy(update={"checks": StoreChecks.model_validate({kind: (page,)})})

    async with StorefrontCheck().open_resources() as visitor:
        await visitor.wait_until_healthy(work, with_text("teapot"), server=server, host=HOST)
        with pytest.raises(TransientError, match="page /large does not show"):
            await visitor.wait_until_healthy(
                work, with_text("coffee"), server=server, host=HOST, timeout_s=0.1
            )
