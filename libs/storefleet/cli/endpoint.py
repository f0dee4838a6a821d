"""Find the API's URLs and the token: flags, then the environment, then the local admin.json."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from storefleet.cli.cli_errors import AccessDenied, UsageError

STATE_DIR_NAME = ".storefleet"
URL_VARIABLE = "STOREFLEET_URL"
LIVE_URL_VARIABLE = "STOREFLEET_LIVE_URL"
TOKEN_VARIABLE = "STOREFLEET_TOKEN"
STATE_DIR_VARIABLE = "STOREFLEET_STATE_DIR"
EVENTS_PATH = "/api/v1/events"
_MAX_FILE_BYTES = 65_536
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ApiAccess:
    """Where the API is and the token to use; `live_url` is None if it cannot be derived."""

    url: str
    token: str = field(repr=False)
    live_url: str | None


@dataclass(frozen=True)
class ConnectionOptions:
    """The connection options of the command line; None where an option was not given."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    live_url: str | None = None
    state_dir: Path | None = None


def resolve_access(options: ConnectionOptions, environ: Mapping[str, str], cwd: Path) -> ApiAccess:
    """Combine flags, environment and the local platform's admin.json.

    The token in admin.json is used only for the URL in the same file.

    Args:
        options: The options of the command line.
        environ: The environment variables.
        cwd: The folder from which the state folder is searched upwards.

    Returns:
        The validated URLs and the token.

    Raises:
        UsageError: A URL or the token is malformed.
        AccessDenied: No token was found.
    """
    url = options.url or environ.get(URL_VARIABLE)
    token = options.token or environ.get(TOKEN_VARIABLE)
    live_url = options.live_url or environ.get(LIVE_URL_VARIABLE)
    admin, reason = _read_admin_file(options, environ, cwd)
    reason = reason or "admin.json of the local platform contains no token."
    if url and admin and not _is_same_origin(url, str(admin.get("url", ""))):
        admin, reason = {}, f"A URL is set ({url}), but no token for it."
    token = token or admin.get("token")
    if not token:
        step = (
            "run `make up` and repeat the command in its folder, or set"
            f" {URL_VARIABLE} and {TOKEN_VARIABLE}"
        )
        raise AccessDenied(reason, code="no_credentials_found", status=401, next_step=step)
    base = validate_url(str(url or admin.get("url") or _read_default_url()), ("http", "https"))
    return ApiAccess(
        url=base,
        token=_validate_token(str(token)),
        live_url=_resolve_live_url(live_url or admin.get("live_url"), base),
    )


def find_state_dir(
    options: ConnectionOptions, environ: Mapping[str, str], cwd: Path
) -> Path | None:
    """Return the state folder that was named, or the nearest one from `cwd` upwards."""
    named = options.state_dir or environ.get(STATE_DIR_VARIABLE)
    if named:
        return cwd / named
    candidates = (folder / STATE_DIR_NAME for folder in (cwd, *cwd.parents))
    return next((folder for folder in candidates if folder.is_dir()), None)


def _read_admin_file(
    options: ConnectionOptions, environ: Mapping[str, str], cwd: Path
) -> tuple[dict[str, Any], str]:
    """Return the content of admin.json, or an empty dict and the reason."""
    folder = find_state_dir(options, environ, cwd)
    if folder is None:
        return {}, "No token is set, and there is no local platform in this folder or above it."
    path = folder / "admin.json"
    named = options.state_dir is not None or STATE_DIR_VARIABLE in environ
    try:
        status = path.stat()
        # Anybody can put a file into a shared folder: a foreign one is used only when named.
        if not named and status.st_uid not in (0, os.geteuid()):
            raise ValueError("it belongs to another user; use --state-dir to trust its folder")
        if status.st_size > _MAX_FILE_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"The local platform is not running: {path} does not exist."
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return {}, f"The credentials in {path} cannot be read: {reason}."
    if not isinstance(content, dict):
        return {}, f"{path} is not a file written by `make up`."
    return content, ""


def _read_default_url() -> str:
    # pydantic is imported only for a token that came without a URL.
    from storefleet.core.settings import read_settings

    return read_settings().gateway_url


def validate_url(text: str, schemes: tuple[str, ...]) -> str:
    """Validate a URL of the platform and remove trailing slashes.

    Args:
        text: The URL.
        schemes: The allowed schemes; the first two are named in the error.

    Returns:
        The URL without a trailing slash.

    Raises:
        UsageError: The URL is malformed or contains credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(text)
        is_complete = (
            parts.scheme in schemes
            and parts.hostname
            and parts.port != 0
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        is_complete = False
    is_printable = text.isascii() and all(c.isprintable() and not c.isspace() for c in text)
    if not is_complete or "@" in parts.netloc or not is_printable:
        rule = f"{schemes[0]}://host[:port] or {schemes[1]}://host[:port]"
        raise UsageError(f"“{text[:200]}” is not a valid URL.", next_step=f"write it as {rule}")
    return text.rstrip("/")


def _validate_token(token: str) -> str:
    token = token.strip()
    is_printable = token.isascii() and token.isprintable() and " " not in token
    if not token or len(token) > 1000 or not is_printable:
        raise UsageError(
            "The token contains characters that are not allowed, or is too long.",
            next_step=f"check {TOKEN_VARIABLE} (or --token)",
        )
    return token


def _is_same_origin(one: str, other: str) -> bool:
    try:
        return _get_origin(urlsplit(one)) == _get_origin(urlsplit(other))
    except ValueError:
        return False


def _get_origin(parts: SplitResult) -> tuple[str, str, int | None, str]:
    host = "loopback" if parts.hostname in _LOOPBACK_HOSTS else parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, host, port, parts.path.rstrip("/")


def _resolve_live_url(text: str | None, base: str) -> str | None:
    """Return the websocket's full URL: the given one, or the usual place beside the gateway."""
    if text:
        parts = urlsplit(validate_url(str(text), ("ws", "wss", "http", "https")))
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        return f"{scheme}://{parts.netloc}{parts.path or EVENTS_PATH}"
    parts = urlsplit(base)
    scheme = "wss" if parts.scheme == "https" else "ws"
    if parts.port is None:  # a reverse proxy routes this one path to the notifier
        return f"{scheme}://{parts.netloc}{parts.path}{EVENTS_PATH}"
    if parts.port == 8080:
        return f"{scheme}://{parts.netloc.removesuffix(':8080')}:8081{EVENTS_PATH}"
    return None
