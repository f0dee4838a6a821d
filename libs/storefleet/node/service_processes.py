"""The four services as children: their ports, their secrets, their readiness."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storefleet.core.settings import ENVIRONMENT_PREFIX, Settings
from storefleet.node.node_error import NodeError
from storefleet.node.ports import is_free
from storefleet.node.private_files import make_folder, write_file
from storefleet.node.processes.launcher import PLAIN_ENVIRONMENT, Child, last_line
from storefleet.node.processes.supervisor import Status
from storefleet.node.state import State
from storefleet.node.system_user import Account

SERVICES = ("gateway", "provisioner", "reaper", "notifier")
RANK = 2
SECRETS = ("database_url", "stores_database_url", "nats_url")
READY_TIMEOUT = 60.0


def port_of(service: str, settings: Settings) -> int:
    port: int = getattr(settings, f"{service}_port")
    return port


def ports(settings: Settings) -> dict[str, int]:
    return {f"{service}_port": port_of(service, settings) for service in SERVICES}


def check_ports(settings: Settings) -> None:
    """Refuse before anything starts, naming the setting to change."""
    taken: dict[int, str] = {}
    for service in SERVICES:
        port, variable = port_of(service, settings), f"{ENVIRONMENT_PREFIX}{service.upper()}_PORT"
        if port in taken:
            raise NodeError(
                f"{taken[port]} and {variable} are both {port}: give one of them another port."
            )
        if not is_free(port, settings.host):
            raise NodeError(
                f"Port {port} of the {service} is taken by another program: stop that program, or set {variable}."
            )
        taken[port] = variable


def write_secrets(state: State, urls: Mapping[str, Mapping[str, str]]) -> None:
    """One private file per service and secret; `urls` holds settings by service."""
    for service in SERVICES:
        folder = make_folder(state.secrets(service))
        for setting in SECRETS:
            path = folder / f"{ENVIRONMENT_PREFIX.lower()}{setting}"
            value = urls[service].get(setting)
            if value:
                write_file(path, value, durable=False)  # written anew at every start
            else:
                path.unlink(missing_ok=True)


def make_child(service: str, *, settings: Settings, state: State, account: Account | None) -> Child:
    return Child(
        name=service,
        argv=(sys.executable, "-m", f"services.{service}"),
        cwd=Path.cwd(),
        log=state.log(service),
        env=environment(service, settings=settings, state=state, account=account),
        rank=RANK,
        endings=((signal.SIGTERM, settings.shutdown_grace + 2.5),),
    )


def environment(
    service: str, *, settings: Settings, state: State, account: Account | None
) -> dict[str, str]:
    """The caller's settings without its secrets, which travel in files."""
    hidden = {f"{ENVIRONMENT_PREFIX}{setting.upper()}" for setting in SECRETS}
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in hidden
    }
    python = {name: os.environ[name] for name in ("PYTHONPATH", "TZ") if name in os.environ}
    engines = ":".join(str(path.absolute()) for path in settings.engines_path)
    own = {
        f"{ENVIRONMENT_PREFIX}STATE_DIR": str(state.folder),
        f"{ENVIRONMENT_PREFIX}SECRETS_DIR": str(state.secrets(service)),
        f"{ENVIRONMENT_PREFIX}ENGINES_PATH": engines,
        f"{ENVIRONMENT_PREFIX}STORES_USER": account.name if account else "",
    }
    return {**PLAIN_ENVIRONMENT, **python, **chosen, **own}


async def wait_until_ready(
    service: str, *, settings: Settings, log: Path, status: Callable[[], Status | None]
) -> None:
    """Poll /readyz; raises NodeError with the service's own last words when it does not come up."""
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            while True:
                code, _ = await ask(settings, service)
                if code == 200:
                    return
                seen = status()
                if seen is None or seen.restarts > 3:
                    raise NodeError(
                        f"The {service} does not start: {explain(last_line(log))} (more in {log})."
                    )
                await asyncio.sleep(0.05)
    except TimeoutError:
        _, said = await ask(settings, service)
        raise NodeError(
            f"The {service} is not ready after {READY_TIMEOUT:.0f} s: {said[:300]} (more in {log})."
        ) from None


async def ask(settings: Settings, service: str, path: str = "/readyz") -> tuple[int, str]:
    """Status and body of one of the service's health pages; status 0 when it does not answer."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, port_of(service, settings))
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0, "no answer"
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    parts = head.split(" ", 2)
    return (int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0), body.strip()


def explain(line: str) -> str:
    """A log line's message: what a person reads of a JSON record."""
    try:
        record: dict[str, Any] = json.loads(line)
        return str(record.get("error") or record.get("event") or line)
    except (ValueError, AttributeError):
        return line
