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
from storefleet.node.private_files import create_folder, write_file
from storefleet.node.processes.launcher import MINIMAL_ENVIRONMENT, ChildProcess, read_last_line
from storefleet.node.processes.supervisor import ChildStatus
from storefleet.node.state import StateFolder
from storefleet.node.system_user import SystemAccount

SERVICES = ("gateway", "provisioner", "reaper", "notifier")
SERVICE_RANK = 2
SECRET_SETTINGS = ("database_url", "stores_database_url", "nats_url")
READY_TIMEOUT_S = 60.0


def get_port(service: str, settings: Settings) -> int:
    port: int = getattr(settings, f"{service}_port")
    return port


def list_ports(settings: Settings) -> dict[str, int]:
    return {f"{service}_port": get_port(service, settings) for service in SERVICES}


def check_ports(settings: Settings) -> None:
    """Refuse before anything starts, naming the setting to change."""
    taken: dict[int, str] = {}
    for service in SERVICES:
        port, variable = get_port(service, settings), f"{ENVIRONMENT_PREFIX}{service.upper()}_PORT"
        if port in taken:
            raise NodeError(
                f"{taken[port]} and {variable} are both {port}: give one of them another port."
            )
        if not is_free(port, settings.host):
            raise NodeError(
                f"Port {port} of the {service} is taken by another program: stop that program, or set {variable}."
            )
        taken[port] = variable


def write_secrets(state: StateFolder, urls: Mapping[str, Mapping[str, str]]) -> None:
    """One private file per service and secret; `urls` holds settings by service."""
    for service in SERVICES:
        folder = create_folder(state.secrets_dir(service))
        for setting in SECRET_SETTINGS:
            path = folder / f"{ENVIRONMENT_PREFIX.lower()}{setting}"
            value = urls[service].get(setting)
            if value:
                write_file(path, value, durable=False)  # written anew at every start
            else:
                path.unlink(missing_ok=True)


def make_child(
    service: str, *, settings: Settings, state: StateFolder, account: SystemAccount | None
) -> ChildProcess:
    return ChildProcess(
        name=service,
        argv=(sys.executable, "-m", f"services.{service}"),
        cwd=Path.cwd(),
        log_file=state.log_file(service),
        env=make_environment(service, settings=settings, state=state, account=account),
        rank=SERVICE_RANK,
        stop_signals=((signal.SIGTERM, settings.shutdown_grace + 2.5),),
    )


def make_environment(
    service: str, *, settings: Settings, state: StateFolder, account: SystemAccount | None
) -> dict[str, str]:
    """The caller's settings without its secrets, which travel in files."""
    hidden = {f"{ENVIRONMENT_PREFIX}{setting.upper()}" for setting in SECRET_SETTINGS}
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in hidden
    }
    python = {name: os.environ[name] for name in ("PYTHONPATH", "TZ") if name in os.environ}
    engines = ":".join(str(path.absolute()) for path in settings.engines_path)
    own = {
        f"{ENVIRONMENT_PREFIX}STATE_DIR": str(state.path),
        f"{ENVIRONMENT_PREFIX}SECRETS_DIR": str(state.secrets_dir(service)),
        f"{ENVIRONMENT_PREFIX}ENGINES_PATH": engines,
        f"{ENVIRONMENT_PREFIX}STORES_USER": account.name if account else "",
    }
    return {**MINIMAL_ENVIRONMENT, **python, **chosen, **own}


async def wait_until_ready(
    service: str,
    *,
    settings: Settings,
    log_file: Path,
    get_status: Callable[[], ChildStatus | None],
) -> None:
    """Poll /readyz; raises NodeError with the service's own last words when it does not come up."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                code, _ = await request_health(settings, service)
                if code == 200:
                    return
                seen = get_status()
                if seen is None or seen.restarts > 3:
                    raise NodeError(
                        f"The {service} does not start: {extract_message(read_last_line(log_file))} (more in {log_file})."
                    )
                await asyncio.sleep(0.05)
    except TimeoutError:
        _, said = await request_health(settings, service)
        raise NodeError(
            f"The {service} is not ready after {READY_TIMEOUT_S:.0f} s: {said[:300]} (more in {log_file})."
        ) from None


async def request_health(
    settings: Settings, service: str, path: str = "/readyz"
) -> tuple[int, str]:
    """Status and body of one of the service's health pages; status 0 when it does not answer."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, get_port(service, settings))
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


def extract_message(line: str) -> str:
    """A log line's message: what a person reads of a JSON record."""
    try:
        record: dict[str, Any] = json.loads(line)
        return str(record.get("error") or record.get("event") or line)
    except (ValueError, AttributeError):
        return line
