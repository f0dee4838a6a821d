"""A client of the HTTP API for tests."""

from typing import Any, NamedTuple

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from tests.support.services.polling import eventually


class Answer(NamedTuple):
    """A completely read response."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any
    text: str


class Api:
    """Sends requests with one token (or none) to one gateway."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str | None) -> None:
        self.session = session
        self.base = base
        self.token = token

    def with_token(self, token: str | None) -> "Api":
        return Api(self.session, self.base, token)

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        headers = CIMultiDict(more.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        url = path if path.startswith("http") else f"{self.base}{path}"
        async with self.session.request(
            method, url, headers=headers, allow_redirects=False, **more
        ) as response:
            text = await response.text(errors="replace")
            body = (
                await response.json(content_type=None) if "json" in response.content_type else None
            )
            return Answer(response.status, response.headers, body, text)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", f"/api/v1{path}", **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        return await self.call("POST", f"/api/v1{path}", json=json, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        return await self.call("DELETE", f"/api/v1{path}", **more)

    async def create(self, name: str, **more: Any) -> dict[str, Any]:
        """Create a store; return the accepted `{"store", "operation"}`."""
        answer = await self.post("/stores", {"name": name, **more})
        assert answer.status == 202, answer.text
        return dict(answer.body)

    async def wait_until_done(self, operation_id: str, *, within: float = 10) -> dict[str, Any]:
        """Wait until the operation is done and return it; outages of the API are tolerated."""

        async def look() -> dict[str, Any]:
            answer = await self.get(
                f"/operations/{operation_id}", params={"wait": str(round(min(within, 20)))}
            )
            assert answer.status == 200, answer.text
            assert answer.body["done"], answer.body
            return dict(answer.body)

        return await eventually(look, within=within, every=0.5)

    async def store(self, ref: str) -> dict[str, Any]:
        answer = await self.get(f"/stores/{ref}")
        assert answer.status == 200, answer.text
        return dict(answer.body)

    async def wait_for_state(self, ref: str, state: str, *, within: float = 10) -> dict[str, Any]:
        """Wait until the store is in this state and return it."""

        async def look() -> dict[str, Any]:
            found = await self.store(ref)
            assert found["state"] == state, found
            return found

        return await eventually(look, within=within)

    async def create_ready_store(self, name: str, **more: Any) -> dict[str, Any]:
        """Create a store and return it when it is ready."""
        accepted = await self.create(name, **more)
        operation = await self.wait_until_done(accepted["operation"]["id"])
        assert operation["state"] == "succeeded", operation
        return await self.store(accepted["store"]["id"])
