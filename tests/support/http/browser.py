"""A browser without JavaScript: forms, links and one cookie."""

from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any

import aiohttp

from storefleet.auth.authentication import SESSION_COOKIE
from tests.support.http.client import Answer

_TICKED = ("radio", "checkbox")


class Form:
    """One form of a page: its target and its initial values."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._form: Form | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        if tag == "form" and attributes.get("method") == "post":
            self._form = Form(attributes.get("action") or "")
            self.found.append(self._form)
        elif self._form is None:
            return
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in attributes:
            self._form.fields[self._select] = value
        elif (
            tag == "input"
            and name
            and ("checked" in attributes or attributes.get("type") not in _TICKED)
        ):
            self._form.fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None


def forms(page: str) -> list[Form]:
    """Return every form with the method POST."""
    parser = _Forms()
    parser.feed(page)
    parser.close()
    return parser.found


class Browser:
    """Sends the requests of one session as a page of the gateway does."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base
        self.origin: str | None = base
        self.cookie: str | None = None

    @property
    def cookie_header(self) -> dict[str, str]:
        return {"Cookie": f"{SESSION_COOKIE}={self.cookie}"} if self.cookie else {}

    async def call(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        sent = {"Accept": "text/html", **self.cookie_header, **(headers or {})}
        if method != "GET" and self.origin is not None:
            sent.setdefault("Origin", self.origin)
        url = f"{self.base}{path}"
        async with self._session.request(
            method, url, headers=sent, allow_redirects=False, **more
        ) as response:
            for value in response.headers.getall("Set-Cookie", []):
                cookie = SimpleCookie(value)
                if SESSION_COOKIE in cookie:
                    self.cookie = cookie[SESSION_COOKIE].value or None
            text = await response.text(errors="replace")
            return Answer(response.status, response.headers, None, text)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", path, **more)

    async def post(self, path: str, fields: dict[str, str], **more: Any) -> Answer:
        return await self.call("POST", path, data=fields, **more)

    async def submit(self, page: str, action: str, **fields: str) -> Answer:
        """Fill in the page's form with this action and send it."""
        actions = [form.action for form in forms(page)]
        assert action in actions, actions
        form = forms(page)[actions.index(action)]
        return await self.post(action, {**form.fields, **fields})
