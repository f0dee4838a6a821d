"""Storefront check: request a store's pages under its host name until they show the expected texts.

It is the last step of a creation, on every runtime that serves stores. Afterwards a store belongs
to its owner, and `observe` tells how it answers. The engine's descriptor names pages and texts.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storefleet.core.errors import TransientError
from storefleet.engines.descriptor import Engine
from storefleet.engines.store_pages import CheckedPage
from storefleet.runtimes.page_client import PageClient, PageTarget
from storefleet.runtimes.protocol import StepContext
from storefleet.runtimes.storefront_observation import (
    CheckResult,
    PageAnswer,
    StorefrontObservation,
    classify_storefront,
)

_RETRY_INTERVAL_S = 0.25


class StorefrontCheck:
    """Checks and observes stores by requesting their pages."""

    def __init__(self, *, timeout_s: float = 90, scheme: str = "http") -> None:
        """Create the check.

        Args:
            timeout_s: How long to wait for each page, in seconds.
            scheme: The scheme that customers use, sent as `X-Forwarded-Proto`.
        """
        self._timeout_s = timeout_s
        self._pages = PageClient(scheme=scheme)

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["StorefrontCheck"]:
        """Hold the HTTP client until the context exits."""
        async with self._pages.open_resources():
            yield self

    async def wait_until_healthy(
        self,
        context: StepContext,
        engine: Engine,
        *,
        server: str,
        host: str,
        timeout_s: float | None = None,
    ) -> None:
        """Wait until the engine's checks `installed` and `healthy` pass.

        Args:
            context: The step that waits; it reports progress.
            engine: The store's engine, which names the pages.
            server: Where to connect, `http://address:port`.
            host: The `Host` header: the store's host name, with the port if it has one.
            timeout_s: Seconds to wait for each page; by default those of the check.

        Raises:
            TransientError: `store_not_answering`, with the page and what is wrong with it.
        """
        for page in (*engine.checks.installed, *engine.checks.healthy):
            await self._wait_for_page(
                context, page, page.label, server=server, host=host, timeout_s=timeout_s
            )

    async def _wait_for_page(
        self,
        context: StepContext,
        page: CheckedPage,
        page_title: str,
        *,
        server: str,
        host: str,
        timeout_s: float | None,
    ) -> None:
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        request_id = context.request_id or context.operation_id
        while (
            problem := await self.find_problem(
                page, server=server, host=host, request_id=request_id
            )
        ) is not None:
            if time.monotonic() > deadline:
                raise TransientError(
                    "store_not_answering",
                    f"The {page_title} {problem}.",
                    next_step="Read the store's log, then retry.",
                )
            await context.report_progress(f"Waiting for the {page_title}: it {problem}")
            await asyncio.sleep(_RETRY_INTERVAL_S)

    async def find_problem(
        self,
        page: CheckedPage,
        *,
        server: str,
        host: str,
        request_id: str,
        tls_server_name: str | None = None,
    ) -> str | None:
        """Request a page once, without following redirects.

        Args:
            page: Path and expected text.
            server: Where to connect, `scheme://address:port`.
            host: The `Host` header.
            request_id: Sent as `X-Request-Id`.
            tls_server_name: The SNI name, for HTTPS. The certificate is not verified: the question
                is which server answers, not whether to trust it.

        Returns:
            What is wrong, as the end of a sentence ("answers 500"); None if nothing is.
        """
        target = PageTarget(server, host, request_id, tls_server_name)
        answer = await self._pages.request_page(target, page.path, max_redirects=0)
        return answer.find_problem(page)

    async def observe(
        self,
        engine: Engine,
        *,
        server: str,
        host: str,
        request_id: str,
        with_admin: bool = True,
    ) -> StorefrontObservation:
        """Observe a store once: class of the storefront, status of the admin, healthy checks.

        Each path is requested once, all concurrently. Storefront and admin follow at most five
        redirects on the store's host. The observation takes at most 15 s.

        Args:
            engine: The store's engine, which names the pages.
            server: Where to connect, `http://address:port`.
            host: The `Host` header.
            request_id: Sent as `X-Request-Id`.
            with_admin: Whether to request the admin page, which the class does not depend on.

        Returns:
            The observation; a store that does not answer is `down`.
        """
        target = PageTarget(server, host, request_id)
        closed, healthy = engine.storefront.closed, engine.checks.healthy
        paths = dict.fromkeys(page.path for page in healthy)
        if closed is not None and closed.path is not None:
            paths[closed.path] = None
        front, admin, *others = await asyncio.gather(
            self._pages.request_page(target, engine.storefront.path),
            self._pages.request_page(target, engine.admin.path) if with_admin else _skip_page(),
            *(self._pages.request_page(target, path, max_redirects=0) for path in paths),
        )
        answers = dict(zip(paths, others, strict=True))
        results = tuple(
            CheckResult(
                label=page.label,
                path=page.path,
                expect=page.expect,
                problem=answers[page.path].find_problem(page),
            )
            for page in healthy
        )
        is_closed = False
        if closed is not None:
            answer = answers[closed.path] if closed.path else front
            is_closed = not answer.problem and closed.expect.encode() in answer.body
        return StorefrontObservation(
            storefront=classify_storefront(front, is_closed=is_closed, checks=results),
            storefront_status=front.status_class,
            storefront_text=front.text,
            admin_status=admin.status_class if with_admin else "",
            admin_text=admin.text if with_admin else "",
            checks=results,
        )


async def _skip_page() -> PageAnswer:
    return PageAnswer()
