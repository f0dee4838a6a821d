"""`storefleet up` in a state folder of its own, controlled from outside."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "fixtures" / "engines" / "local"


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Platform:
    """One `storefleet up`."""

    def __init__(
        self, state_dir: Path, *, engines: Path = TINY, engine: str = "tiny", **settings: object
    ) -> None:
        self.state_dir = state_dir
        gateway, notifier, provisioner, reaper = free_ports(4)
        first = 20_000 + (os.getpid() % 120) * 100  # below the ports that outgoing connections use
        self.settings: dict[str, str] = {
            "state_dir": str(state_dir),
            "engines_path": str(engines),
            "default_engine": engine,
            "gateway_port": str(gateway),
            "notifier_port": str(notifier),
            "provisioner_port": str(provisioner),
            "reaper_port": str(reaper),
            "store_port_first": str(first),
            "store_port_last": str(first + 99),
            **{name: str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("STOREFLEET_")
        }
        return {
            **clean,
            **{f"STOREFLEET_{name.upper()}": value for name, value in self.settings.items()},
        }

    def up(self, timeout: float = 400) -> None:
        """Start and wait until the admin file exists."""
        output = (self.state_dir.parent / "up.out").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "storefleet.cli.main", "up"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output.close()
        deadline = time.monotonic() + timeout
        while not (self.state_dir / "admin.json").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.down()
                raise AssertionError(
                    "up failed:\n" + (self.state_dir.parent / "up.out").read_text()[-3000:]
                )
            time.sleep(0.05)

    def down(self) -> int:
        """Stop as Ctrl-C does; return the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    @property
    def admin(self) -> dict[str, str]:
        content: dict[str, str] = json.loads((self.state_dir / "admin.json").read_text())
        return content

    def pid(self, name: str) -> int | None:
        """Return the process id of a child by its name (gateway, postgres, nats, store-…)."""
        try:
            return int(json.loads((self.state_dir / "pids" / f"{name}.json").read_text())["pid"])
        except (FileNotFoundError, ValueError):
            return None

    def kill(self, name: str) -> bool:
        """Kill one child with SIGKILL; return whether it existed."""
        pid = self.pid(name)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def log_lines(self, *names: str) -> Iterator[dict[str, Any]]:
        for name in names or ("gateway", "provisioner", "reaper", "notifier"):
            for line in (
                (self.state_dir / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
            ):
                try:
                    yield json.loads(line)
                except ValueError:
                    yield {"event": "not_json", "line": line}

    def leftovers(self) -> list[str]:
        """Return files and processes of stores that still exist."""
        found = [str(path) for path in (self.state_dir / "stores").glob("*")]
        found += [str(path) for path in (self.state_dir / "logs").glob("store-*")]
        found += [str(path) for path in (self.state_dir / "pids").glob("store-*")]
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"STORE_CONFIG={self.state_dir}/stores/".encode() in environ:
                found.append(f"process {entry.name}: {(entry / 'cmdline').read_bytes()!r}")
        return found


class Client:
    """An API client that retries lost connections and 503 with the same idempotency key."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        admin = self._platform.admin
        self._session = aiohttp.ClientSession(
            base_url=admin["url"] + "/",
            headers={"Authorization": f"Bearer {admin['token']}"},
            timeout=aiohttp.ClientTimeout(total=45),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def once(self, method: str, path: str, **kwargs: Any) -> tuple[int, dict[str, Any]]:
        assert self._session is not None
        async with self._session.request(method, f"api/v1/{path}", **kwargs) as response:
            body = await response.json(content_type=None) if response.status != 204 else {}
            return response.status, body

    async def insist(
        self, method: str, path: str, *, within: float = 60, **kwargs: Any
    ) -> tuple[int, dict[str, Any]]:
        """Repeat the request until the response is not 503."""
        deadline = time.monotonic() + within
        while True:
            try:
                status, body = await self.once(method, path, **kwargs)
                if status != 503:
                    return status, body
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            assert time.monotonic() < deadline, (
                f"{method} {path} was not answered within {within} s"
            )
            await asyncio.sleep(0.2)

    async def create(self, name: str, **body: Any) -> dict[str, Any]:
        key = f"key-{name}-{time.monotonic_ns()}"
        status, answer = await self.insist(
            "POST", "stores", json={"name": name, **body}, headers={"Idempotency-Key": key}
        )
        assert status == 202, answer
        return answer

    async def delete(self, ref: str) -> dict[str, Any]:
        status, answer = await self.insist("DELETE", f"stores/{ref}")
        assert status == 202, answer
        return answer

    async def ended(self, operation_id: str, within: float = 60) -> dict[str, Any]:
        """Wait until the operation is done and return it."""
        deadline = time.monotonic() + within
        while True:
            _, operation = await self.insist(
                "GET", f"operations/{operation_id}?wait=5", within=within
            )
            if operation.get("done"):
                return operation
            assert time.monotonic() < deadline, f"not done within {within} s: {operation}"

    async def made(self, name: str, **body: Any) -> dict[str, Any]:
        """Create a store and return it when it is ready."""
        answer = await self.create(name, **body)
        operation = await self.ended(answer["operation"]["id"])
        assert operation["state"] == "succeeded", operation
        return (await self.insist("GET", f"stores/{answer['store']['id']}"))[1]


@contextmanager
def run_platform(state_dir: Path, **settings: Any) -> Iterator[Platform]:
    """Start a platform and stop it afterwards, also after a failure."""
    platform = Platform(state_dir, **settings)
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


async def eventually(check: Callable[[], bool], within: float, what: str) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.05)
