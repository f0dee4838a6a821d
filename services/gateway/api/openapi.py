"""Serve the OpenAPI 3.1 description of the API, written by hand in openapi.yaml."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml
from aiohttp import web


class OpenApiDocument:
    """`/openapi.json`, the only route without authentication."""

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the route of the description."""
        return (web.get("/api/v1/openapi.json", self.get_document),)

    async def get_document(self, _request: web.Request) -> web.Response:
        """Return the description as JSON."""
        return web.json_response(load_document())


@cache
def load_document() -> dict[str, object]:
    """Load openapi.yaml once."""
    content: dict[str, object] = yaml.safe_load(
        (Path(__file__).parent / "openapi.yaml").read_text(encoding="utf-8")
    )
    return content
