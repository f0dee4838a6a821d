"""`storefleet up` as a whole: start, crashes of its parts, `storefleet down`, the next start."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storefleet.core.settings import Settings
from storefleet.node.down import NodeStatus, read_status, stop_local_node
from storefleet.node.processes.process_records import find_process
from tests.support.services.platform import ROOT, Client, Platform
from tests.support.services.polling import eventually

COMMAND = (
    "import sys; from storefleet.core import settings;"
    "from storefleet.node.up import run_local_node;"
    "sys.exit(run_local_node(settings.read_settings()))"
)
SERVERS = {"postgres", "nats"}
SERVICES = {"gateway", "provisioner", "reaper", "notifier"}


@pytest.fixture
def platform() -> Iterator[Platform]:
    folder = Path(tempfile.mkdtemp(prefix="storefleet-tests-"))
    platform = Platform(folder / "state")
    try:
        yield platform
    finally:
        platform.down()
        stop_local_node(make_settings(platform))
        shutil.rmtree(folder)


def make_settings(platform: Platform) -> Settings:
    ports = {
        name: int(value) for name, value in platform.settings.items() if name.endswith("_port")
    }
    return Settings(state_dir=platform.state_dir, **ports)  # type: ignore[arg-type]


async def read_node_status(platform: Platform) -> NodeStatus:
    return await asyncio.to_thread(read_status, make_settings(platform))


def run_failing_up(platform: Platform, **changed: str) -> str:
    """Run an `up` that fails, and return its one line of output."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        cwd=ROOT,
        env={**platform.environment, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.endswith(" …")]
    assert len(lines) == 1
    return lines[0]


def list_processes(platform: Platform) -> list[int]:
    """List the processes with the state folder in their command line or environment."""
    needle = str(platform.state_dir).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            seen = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if needle in seen and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


async def request_page(url: str) -> str:
    port = int(url.rsplit(":", 1)[1].strip("/"))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return ""
    writer.write(b"GET / HTTP/1.0\r\nHost: acme.localhost\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_platform_survives_crashes_and_stops_completely(platform: Platform) -> None:
    """Test all phases with one platform, because every start takes seconds."""
    await asyncio.to_thread(platform.up)
    assert (platform.state_dir / "admin.json").stat().st_mode & 0o777 == 0o600
    assert set(platform.admin) == {"url", "live_url", "tenant", "email", "password", "token"}
    await eventually(
        lambda: "Storefleet is ready" in (platform.state_dir.parent / "up.out").read_text()
    )
    first_sign_in = platform.admin
    report = await read_node_status(platform)
    assert set(report.children) == SERVERS | SERVICES
    assert set(report.services.values()) == {"ready"}
    for service in SERVICES:
        assert (
            f"services.{service}" in Path(f"/proc/{report.children[service]}/cmdline").read_text()
        )

    async with Client(platform) as client:
        store = await client.made("acme")
    assert "Tiny teapot" in await request_page(store["url"])

    assert f"(process {report.pid})" in run_failing_up(platform)
    assert_secrets_are_private(platform)

    # a store's process that dies is restarted
    name = f"store-{store['id']}"
    before = platform.pid(name)
    assert platform.kill(name)
    await eventually(lambda: platform.pid(name) not in (None, before))
    await eventually(lambda: request_page(store["url"]), within=10)

    # a crash of the database does not restart the store's process
    alive, server = platform.pid(name), platform.pid("postgres")
    assert platform.kill("postgres")
    await eventually(lambda: platform.pid("postgres") not in (None, server))

    async def is_selling() -> bool:
        return "Tiny teapot" in await request_page(store["url"])

    await eventually(is_selling)
    assert platform.pid(name) == alive

    # after kill -9 of the node, the next run terminates all leftovers first
    assert platform.process is not None
    platform.process.kill()
    platform.process.wait()
    left = [find_process(pid) for pid in (await read_node_status(platform)).children.values()]
    assert len([identity for identity in left if identity]) == 7
    (platform.state_dir / "admin.json").unlink()
    await asyncio.to_thread(platform.up)
    assert not [identity for identity in left if identity and identity.is_alive]
    assert platform.admin == first_sign_in
    await eventually(lambda: request_page(store["url"]), within=20)
    children = (await read_node_status(platform)).children
    assert set(children) == SERVERS | SERVICES | {name}
    assert count_servers(platform) == 1

    async with Client(platform) as client:
        answer = await client.delete("acme")
        assert (await client.ended(answer["operation"]["id"]))["state"] == "succeeded"
    assert platform.leftovers() == []

    # SIGTERM stops everything, with exit code 0
    assert await asyncio.to_thread(platform.down) == 0
    assert list_processes(platform) == []
    assert list((platform.state_dir / "pids").iterdir()) == []
    assert (
        await asyncio.to_thread(stop_local_node, make_settings(platform)) == "Nothing is running."
    )


def assert_secrets_are_private(platform: Platform) -> None:
    secrets = {
        path.read_text().strip() for path in (platform.state_dir / "secrets" / "node").glob("*_*")
    }
    secrets |= {platform.admin["password"], platform.admin["token"]}
    assert len(secrets) > 5
    for pid in list_processes(platform):
        seen = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        seen += Path(f"/proc/{pid}/environ").read_text(errors="replace")
        assert not [secret for secret in secrets if secret in seen]
    for log in (platform.state_dir / "logs").iterdir():
        assert not [secret for secret in secrets if secret in log.read_text()]
    for path in (platform.state_dir / "secrets").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def count_servers(platform: Platform) -> int:
    data = str(platform.state_dir / "postgres" / "data")
    lines = [
        Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in list_processes(platform)
    ]
    return len(
        [line for line in lines if line.split("\0")[0].endswith("bin/postgres") and data in line]
    )


async def test_down_stops_running_node_and_cleans_up_after_killed_start(
    platform: Platform,
) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=ROOT,
        env=platform.environment,
        stderr=subprocess.DEVNULL,
    )
    await eventually(lambda: platform.pid("nats"), within=20)
    assert await asyncio.to_thread(stop_local_node, make_settings(platform)) == "Stopped."
    assert starting.wait(10) == 0
    assert list_processes(platform) == []

    # `down` terminates what a killed start left
    starting = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=ROOT,
        env=platform.environment,
        stderr=subprocess.DEVNULL,
    )
    await eventually(lambda: platform.pid("nats"), within=20)
    starting.send_signal(signal.SIGKILL)
    starting.wait()
    assert "The processes of a killed run were terminated: " in await asyncio.to_thread(
        stop_local_node, make_settings(platform)
    )
    assert list_processes(platform) == []


def test_unreachable_servers_are_explained_in_one_line(platform: Platform) -> None:
    secret = "postgresql://u:hush@127.0.0.1:9/x"
    line = run_failing_up(
        platform, STOREFLEET_DATABASE_URL=secret, STOREFLEET_NATS_URL="nats://u:hush@127.0.0.1:9"
    )
    assert "127.0.0.1:9 cannot be used" in line
    assert "hush" not in line
