"""A person without JavaScript: forms, links and one cookie."""

import html
import re
from http.cookies import SimpleCookie
from typing import Any

import aiohttp

from storefleet.callers import COOKIE
from tests.support.client import Answer

_FIELD = re.compile(r"<(?:input|textarea)\b[^>]*>")
_ATTRIBUTE = re.compile(r'\b(name|value|type|checked)(?:="([^"]*)")?')


class Form:
    """One form of a page: where it goes, and what it holds before anybody has touched it."""

    def __init__(self, action: str, fields: dict[str, str]) -> None:
        self.action = action
        self.fields = fields


def forms(page: str) -> list[Form]:
    """Every form that is posted."""
    found = []
    for head, body in re.findall(r'(<form\b[^>]*method="post"[^>]*>)(.*?)</form>', page, re.DOTALL):
        action = re.search(r'\baction="([^"]*)"', head)
        fields = {}
        for tag in _FIELD.findall(body):
            attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(tag)}
            if attributes.get("type") in ("radio", "checkbox") and "checked" not in attributes:
                continue
            if "name" in attributes:
                fields[attributes["name"]] = attributes.get("value", "")
        found.append(Form(html.unescape(action.group(1)) if action else "", fields))
    return found


class Browser:
    """Requests of one session, as a page of the gateway makes them."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base
        self.origin: str | None = base
        self.cookie: str | None = None

    @property
    def cookie_header(self) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}

    async def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        sent = {"Accept": "text/html", **self.cookie_header, **(headers or {})}
        if method != "GET" and self.origin is not None:
            sent.setdefault("Origin", self.origin)
        url = f"{self.base}{path}"
        async with self._session.request(method, url, headers=sent, allow_redirects=False, **more) as response:
            for value in response.headers.getall("Set-Cookie", []):
                cookie = SimpleCookie(value)
                if COOKIE in cookie:
                    self.cookie = cookie[COOKIE].value or None
            text = await response.text(errors="replace")
            return Answer(response.status, response.headers, None, text)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", path, **more)

    async def post(self, path: str, fields: dict[str, str], **more: Any) -> Answer:
        return await self.call("POST", path, data=fields, **more)

    async def submit(self, page: str, action: str, **fields: str) -> Answer:
        """Fill in the form of that page with this action, and send it."""
        actions = [form.action for form in forms(page)]
        assert action in actions, actions
        form = forms(page)[actions.index(action)]
        return await self.post(action, {**form.fields, **fields})
