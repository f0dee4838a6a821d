"""Run the four services as child processes: ports, secrets, environment, readiness."""

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
    """Return the configured port of a service."""
    port: int = getattr(settings, f"{service}_port")
    return port


def list_ports(settings: Settings) -> dict[str, int]:
    """List the ports of all services by the name of their setting (`gateway_port`)."""
    return {f"{service}_port": get_port(service, settings) for service in SERVICES}


def check_ports(settings: Settings) -> None:
    """Check that every service has a free port of its own, before anything starts.

    Raises:
        NodeError: Two services have the same port, or another program uses a service's port.
    """
    taken: dict[int, str] = {}
    for service in SERVICES:
        port, variable = get_port(service, settings), f"{ENVIRONMENT_PREFIX}{service.upper()}_PORT"
        if port in taken:
            raise NodeError(
                f"{taken[port]} and {variable} are both {port}, but every service needs a port of "
                "its own. Change one of them."
            )
        if not is_free(port, settings.host):
            raise NodeError(
                f"The {service} cannot use port {port}: it is taken by another program. Stop that "
                f"program, or choose another port with {variable}."
            )
        taken[port] = variable


def write_secrets(state: StateFolder, urls: Mapping[str, Mapping[str, str]]) -> None:
    """Write each service's secrets into private files of its own.

    Args:
        state: The state folder.
        urls: The values of `SECRET_SETTINGS` by service; a missing one deletes the file.
    """
    for service in SERVICES:
        folder = create_folder(state.secrets_dir(service))
        for setting in SECRET_SETTINGS:
            path = folder / f"{ENVIRONMENT_PREFIX.lower()}{setting}"
            value = urls[service].get(setting)
            if value:
                write_file(path, value, durable=False)  # rewritten at every start
            else:
                path.unlink(missing_ok=True)


def make_child(
    service: str, *, settings: Settings, state: StateFolder, account: SystemAccount | None
) -> ChildProcess:
    """Describe the process of a service.

    Args:
        service: The name of the service.
        settings: The platform's settings.
        state: The state folder.
        account: The system account that the stores run as; None if that is the current user.

    Returns:
        The process; the supervisor starts it.
    """
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
    """Make the environment of a service: the caller's settings without its secrets.

    Secrets are passed in files, because a user's processes can read each other's environment.

    Args:
        service: The name of the service.
        settings: The platform's settings.
        state: The state folder.
        account: The system account that the stores run as; None if that is the current user.

    Returns:
        The environment variables.
    """
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
    """Poll a service's `/readyz` until it answers 200.

    Args:
        service: The name of the service.
        settings: The platform's settings.
        log_file: The log of the service; its last line explains a failure.
        get_status: Returns the status of the process.

    Raises:
        NodeError: The service ends repeatedly, or is not ready in time.
    """
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                code, _ = await request_health(settings, service)
                if code == 200:
                    return
                status = get_status()
                if status is None or status.restarts > 3:
                    reason = extract_message(read_last_line(log_file))
                    raise NodeError(
                        f"The {service} does not start: {reason}. Read its log {log_file}."
                    )
                await asyncio.sleep(0.05)
    except TimeoutError:
        _, answer = await request_health(settings, service)
        raise NodeError(
            f"The {service} is not ready after {READY_TIMEOUT_S:.0f} s: {answer[:300]}. "
            f"Read its log {log_file}."
        ) from None


async def request_health(
    settings: Settings, service: str, path: str = "/readyz"
) -> tuple[int, str]:
    """Request one of a service's health endpoints.

    Args:
        settings: The platform's settings.
        service: The name of the service.
        path: The endpoint.

    Returns:
        The HTTP status and the body; status 0 if the service does not answer.
    """
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
    """Extract the readable message from a log line, which may be a JSON record.

    Returns:
        The record's `error` or `event`; the line itself if it is not a JSON record.
    """
    try:
        record: dict[str, Any] = json.loads(line)
        return str(record.get("error") or record.get("event") or line)
    except (ValueError, AttributeError):
        return line
