"""Fetch the mails of a store from its outbox, with hard limits, because no store is trusted.

The limits: time to connect and in total, size of the answer, fetches at once of a tenant and of
all. No redirect is followed, no cookie is kept, and no compressed answer is unpacked.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp

from services.gateway.mail_answers import (
    MAX_ANSWER_BYTES,
    BrokenAnswer,
    Mail,
    MailPage,
    parse_mail,
    parse_mail_page,
)
from storefleet.core.errors import (
    LimitExceeded,
    NotFound,
    StoreAnswerInvalid,
    StoreMailUnavailable,
)
from storefleet.core.models import Store
from storefleet.observability import logs
from storefleet.runtimes.protocol import MailOutbox, Runtime
from storefleet.runtimes.store_http import make_store_headers, open_store_session

log = logs.get_logger(__name__)

_CONNECT_TIMEOUT_S = 2.0
_TOTAL_TIMEOUT_S = 10.0
_MAX_FETCHES = 16
_MAX_FETCHES_OF_TENANT = 4
_CHUNK_BYTES = 64 << 10
_READ_LOG = "Read the store's log, then try again."


class MailClient:
    """Reads lists of mails and single mails from stores."""

    def __init__(self, *, runtime: Runtime) -> None:
        self._runtime = runtime
        self._http: aiohttp.ClientSession | None = None
        self._fetches_by_tenant: Counter[str] = Counter()

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["MailClient"]:
        """Hold the HTTP client session until the context exits."""
        async with open_store_session(
            max_connections=_MAX_FETCHES, auto_decompress=False
        ) as self._http:
            yield self

    async def fetch_page(
        self, store: Store, *, limit: int, before: str | None, request_id: str
    ) -> MailPage:
        """Fetch a page of a store's mails, newest first.

        Raises Conflict, LimitExceeded, RuntimeUnavailable, StoreAnswerInvalid or
        StoreMailUnavailable.
        """
        query = {"limit": str(limit)} | ({"before": before} if before else {})
        body = await self._fetch(store, "", query, request_id)
        if body is None:
            raise StoreAnswerInvalid(
                f"The store {store.name} answers 404 instead of its mails: it has not loaded the"
                " key of its mail outbox yet, or its version has none. Upgrade the store, or"
                " restart it."
            )
        with _explain_broken_answer(store):
            return parse_mail_page(body, limit=limit, before=before)

    async def fetch_mail(self, store: Store, mail_id: str, *, request_id: str) -> Mail:
        """Fetch a mail with its bodies.

        Raises NotFound, and what `fetch_page` raises.
        """
        body = await self._fetch(store, f"/{mail_id}", {}, request_id)
        if body is None:
            raise NotFound("Mail not found. A store keeps its newest 200 mails.")
        with _explain_broken_answer(store):
            return parse_mail(body, mail_id=mail_id)

    async def _fetch(
        self, store: Store, path: str, query: dict[str, str], request_id: str
    ) -> bytes | None:
        """Fetch an answer; None if it is 404."""
        with self._count_fetch(store.tenant_id):
            outbox = await self._runtime.find_mail_outbox(store)
            try:
                return await self._request(store, outbox, path, query, request_id)
            except TimeoutError:
                reason = f"does not answer within {_TOTAL_TIMEOUT_S:g} s"
            except (aiohttp.ClientError, OSError) as error:
                reason = f"does not answer ({type(error).__name__})"
        log.info("store_mail_unavailable", store_id=store.id, reason=reason)
        raise StoreMailUnavailable(f"The store {store.name} {reason}. {_READ_LOG}")

    async def _request(
        self, store: Store, outbox: MailOutbox, path: str, query: dict[str, str], request_id: str
    ) -> bytes | None:
        assert self._http is not None  # noqa: S101 - the gateway opens it before it serves
        headers = {
            **make_store_headers(host=outbox.host, scheme=outbox.scheme, request_id=request_id),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {outbox.key}",
        }
        timeout = aiohttp.ClientTimeout(total=_TOTAL_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S)
        async with self._http.get(
            outbox.url + path,
            params=query,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                reason = f"answers {response.status} instead of its mails"
                log.info("store_mail_unavailable", store_id=store.id, reason=reason)
                error = StoreMailUnavailable if response.status == 503 else StoreAnswerInvalid
                raise error(f"The store {store.name} {reason}. {_READ_LOG}")
            with _explain_broken_answer(store):
                return await _read_body(response)

    @contextmanager
    def _count_fetch(self, tenant_id: str) -> Iterator[None]:
        """Count a fetch while it runs.

        Raises LimitExceeded at the limit, without waiting: a slow store must not hold up requests.
        """
        fetches = self._fetches_by_tenant
        if fetches[tenant_id] >= _MAX_FETCHES_OF_TENANT or fetches.total() >= _MAX_FETCHES:
            raise LimitExceeded(
                "Too many mails are being fetched at the moment. Try again in a few seconds.",
                retry_after=2,
            )
        fetches[tenant_id] += 1
        try:
            yield
        finally:
            fetches[tenant_id] -= 1
            if not fetches[tenant_id]:
                del fetches[tenant_id]


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Read the whole body; raise BrokenAnswer if it is compressed or too large."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BrokenAnswer("is compressed")
    body = bytearray()
    async for part in response.content.iter_chunked(_CHUNK_BYTES):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise BrokenAnswer(f"is larger than {MAX_ANSWER_BYTES >> 20} MiB")
    return bytes(body)


@contextmanager
def _explain_broken_answer(store: Store) -> Iterator[None]:
    try:
        yield
    except BrokenAnswer as broken:
        log.info("store_mail_unavailable", store_id=store.id, reason=str(broken))
        raise StoreAnswerInvalid(
            f"The store {store.name} does not answer with its mails: the answer {broken}."
            " A plugin or other code of the store may have changed its mail outbox. Remove that"
            " code, or upgrade the store."
        ) from None
