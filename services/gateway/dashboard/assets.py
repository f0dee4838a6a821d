"""Built static files of the dashboard: their hashed names, and the handler that serves them."""

import json
import re
from pathlib import Path

from aiohttp import web

from storefleet.core.errors import NotFound

ASSETS_DIR = Path(__file__).parent / "static" / "dist"
_ASSET_NAME_PATTERN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class AssetManifest:
    """Maps logical file names to URLs of hashed files; rereads the manifest when it changes."""

    def __init__(self, folder: Path) -> None:
        self._manifest = folder / "manifest.json"
        self._manifest_mtime = 0.0
        self._hashed_names: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return the URL of a file; without a manifest, that of its logical name."""
        try:
            mtime = self._manifest.stat().st_mtime
        except FileNotFoundError:
            return f"/static/{name}"
        if mtime != self._manifest_mtime:
            self._hashed_names = json.loads(self._manifest.read_text(encoding="utf-8"))["files"]
            self._manifest_mtime = mtime
        return f"/static/{self._hashed_names.get(name, name)}"


async def get_asset(request: web.Request) -> web.StreamResponse:
    """Serve a built file. Only names that the build produces reach the file system."""
    name = request.match_info["name"]
    if not _ASSET_NAME_PATTERN.fullmatch(name) or not (ASSETS_DIR / name).is_file():
        raise NotFound("Page not found.")
    return web.FileResponse(ASSETS_DIR / name)
