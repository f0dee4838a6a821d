"""The description of the API (OpenAPI 3.1), served as it is written in openapi.yaml."""

from functools import cache
from pathlib import Path

import yaml
from aiohttp import web


@cache
def load_document() -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load(
        (Path(__file__).parent / "openapi.yaml").read_text(encoding="utf-8")
    )
    return content


async def get_openapi_document(_request: web.Request) -> web.Response:
    return web.json_response(load_document())
