"""Where the API is and who we are there: flags, then the environment, then the local platform's admin.json."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from storefleet.cli.cli_errors import AccessDenied, UsageError

STATE_DIR_NAME = ".storefleet"
URL_VARIABLE, LIVE_URL_VARIABLE, TOKEN_VARIABLE = (
    "STOREFLEET_URL",
    "STOREFLEET_LIVE_URL",
    "STOREFLEET_TOKEN",
)
EVENTS_PATH = "/api/v1/events"
_MAX_FILE_BYTES = 65_536
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ApiAccess:
    """One place and one caller; `live_url` is None when nobody told where the notifier is."""

    url: str
    token: str = field(repr=False)
    live_url: str | None


@dataclass(frozen=True)
class ConnectionOptions:
    """What the command line says; None where it says nothing."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    live_url: str | None = None
    state_dir: Path | None = None


def resolve_access(options: ConnectionOptions, environ: Mapping[str, str], cwd: Path) -> ApiAccess:
    """Put the sources together; raises WrongUse, NotAllowed."""
    url, token = (
        options.url or environ.get(URL_VARIABLE),
        options.token or environ.get(TOKEN_VARIABLE),
    )
    live_url = options.live_url or environ.get(LIVE_URL_VARIABLE)
    told, why = _read_admin_file(options, environ, cwd)
    why = why or "The platform's sign-in holds no token."
    if url and told and not _is_same_origin(url, str(told.get("url", ""))):
        told, why = (
            {},
            f"There is an address ({url}) and no token for it.",
        )  # the local token is not for strangers
    token = token or told.get("token")
    if not token:
        step = f"run `make up` first and call from its folder, or set {URL_VARIABLE} and {TOKEN_VARIABLE}"
        raise AccessDenied(why, code="no_credentials_found", status=401, next_step=step)
    base = validate_url(str(url or told.get("url") or _read_default_url()), ("http", "https"))
    return ApiAccess(
        url=base,
        token=_validate_token(str(token)),
        live_url=_resolve_live_url(live_url or told.get("live_url"), base),
    )


def find_state_dir(
    options: ConnectionOptions, environ: Mapping[str, str], cwd: Path
) -> Path | None:
    """The state folder that was named, or the nearest one from here upwards."""
    named = options.state_dir or environ.get("STOREFLEET_STATE_DIR")
    if named:
        return cwd / named
    return next(
        (
            folder / STATE_DIR_NAME
            for folder in (cwd, *cwd.parents)
            if (folder / STATE_DIR_NAME).is_dir()
        ),
        None,
    )


def _read_admin_file(
    options: ConnectionOptions, environ: Mapping[str, str], cwd: Path
) -> tuple[dict[str, Any], str]:
    """The local platform's sign-in, or nothing and the reason."""
    folder = find_state_dir(options, environ, cwd)
    if folder is None:
        return {}, "There is no platform in this folder, and no token was given."
    path = folder / "admin.json"
    named = options.state_dir is not None or "STOREFLEET_STATE_DIR" in environ
    try:
        facts = path.stat()
        if not named and facts.st_uid not in (
            0,
            os.geteuid(),
        ):  # anybody can leave a file in a shared folder
            raise ValueError(
                "it belongs to another user; name its folder with --state-dir to trust it"
            )
        if facts.st_size > _MAX_FILE_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"The platform is not up: {path} does not exist."
    except (OSError, ValueError) as error:
        return (
            {},
            f"The sign-in in {path} cannot be read: {getattr(error, 'strerror', None) or error}.",
        )
    return (
        (content, "")
        if isinstance(content, dict)
        else ({}, f"{path} is not what `make up` writes.")
    )


def _read_default_url() -> str:
    from storefleet.core.settings import (
        read_settings,  # brings pydantic: only for a token that came without an address
    )

    return read_settings().gateway_url


def validate_url(text: str, schemes: tuple[str, ...]) -> str:
    """The address without a slash at its end; raises WrongUse."""
    try:
        parts = urlsplit(text)
        good = (
            parts.scheme in schemes
            and parts.hostname
            and parts.port != 0
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        good = False
    if (
        not good
        or "@" in parts.netloc
        or not text.isascii()
        or any(c.isspace() or not c.isprintable() for c in text)
    ):
        rule = f"{schemes[0]}://host[:port] or {schemes[1]}://host[:port]"
        raise UsageError(
            f"“{text[:200]}” is not an address of the platform.", next_step=f"write it as {rule}"
        )
    return text.rstrip("/")


def _validate_token(token: str) -> str:
    token = token.strip()
    if (
        not token
        or len(token) > 1000
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise UsageError(
            "The token holds characters that no token has.",
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
    """The websocket's full address: the one given, or the usual place beside the gateway's."""
    if text:
        parts = urlsplit(validate_url(str(text), ("ws", "wss", "http", "https")))
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        return f"{scheme}://{parts.netloc}{parts.path or EVENTS_PATH}"
    parts = urlsplit(base)
    scheme = "wss" if parts.scheme == "https" else "ws"
    if parts.port is None:  # behind a proxy, which sends this one path to the notifier
        return f"{scheme}://{parts.netloc}{parts.path}{EVENTS_PATH}"
    if parts.port == 8080:
        return f"{scheme}://{parts.netloc.removesuffix(':8080')}:8081{EVENTS_PATH}"
    return None
