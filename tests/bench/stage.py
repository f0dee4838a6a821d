"""Run a platform for one benchmark, by `storefleet up` in a temporary folder."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.services.platform import ROOT, Platform

SERVICES = ("gateway", "provisioner", "reaper", "notifier")
_TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def run_platform(**settings: Any) -> Iterator[Platform]:
    """Run a platform; stop it and remove its files at exit."""
    folder = Path(tempfile.mkdtemp(prefix="storefleet-bench-"))
    staged = Platform(folder / "state", **settings)
    try:
        staged.up()
        yield staged
    finally:
        try:
            staged.down()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def run_simulated_platform(**settings: Any) -> Iterator[Platform]:
    """Run a platform whose stores are ready at once, with limits that are never reached."""
    with run_platform(
        runtime="simulated", stores_per_hour=1_000_000, stores_per_tenant=1_000_000, **settings
    ) as staged:
        yield staged


def call_as_operator(
    staged: Platform, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send a request with the operator's token; raises HTTPError."""
    return call_api(staged.admin["url"], staged.admin["token"], method, path, body)


def call_api(
    url: str, token: str, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send a request to a gateway's API; raises HTTPError."""
    request = urllib.request.Request(  # noqa: S310  our own http address
        f"{url}/api/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=75) as answer:  # noqa: S310  same
        content: dict[str, Any] = json.loads(answer.read() or b"{}")
        return content


def create_tenants(staged: Platform, count: int) -> list[str]:
    """Create tenants; return their tokens."""
    made = (
        call_as_operator(
            staged, "POST", "tenants", {"name": f"Bench {n}", "email": f"bench-{n}@example.com"}
        )
        for n in range(count)
    )
    return [tenant["token"] for tenant in made]


async def run_side_process(module: str, plan: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """Run `python -m <module>` with a plan on standard input; return the JSON that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(json.dumps(plan).encode()), timeout)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}")
    result: dict[str, Any] = json.loads(output)
    return result


def read_counter(staged: Platform, service: str, name: str) -> float:
    """Return the sum of a metric over all its labels."""
    port = staged.settings[f"{service}_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith((f"{name}{{", f"{name} "))
    )


def check_readiness(staged: Platform, service: str) -> None:
    """Request a service's readiness check; raises HTTPError if it is not ready."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{staged.settings[f'{service}_port']}/readyz", timeout=10
    ):
        return


def get_resident_bytes(pid: int) -> int:
    """Return the resident bytes of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def get_proportional_bytes(pid: int) -> int:
    """Return the proportional set size (PSS) of one process in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def get_cpu_seconds(staged: Platform) -> dict[str, float]:
    """Return the CPU seconds so far of each program; PostgreSQL's include its backends."""
    seconds = {}
    for name in (*SERVICES, "nats", "postgres"):
        pid = staged.pid(name)
        family = [pid, *list_descendants(pid)] if pid is not None and name == "postgres" else [pid]
        seconds[name] = sum(
            get_process_cpu_seconds(member, ended_too=name == "postgres")
            for member in family
            if member is not None
        )
    return seconds


def get_process_cpu_seconds(pid: int, *, ended_too: bool = False) -> float:
    """Return the CPU seconds of a process, with `ended_too` those of its ended children too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11 : 15 if ended_too else 13]) / _TICK


def list_descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="ascii").split():
            found += [int(child), *list_descendants(int(child))]
    return found
