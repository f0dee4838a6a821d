"""seed-stores.sh against a real gateway: it creates one store per engine and waits for it."""

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

from tests.support.documents.sources import ROOT
from tests.support.services.world import World

SCRIPT = ROOT / "scripts" / "seed-stores.sh"


class Done(NamedTuple):
    """How a run ended."""

    status: int
    out: str
    err: str


async def seed(world: World, *arguments: str, **environment: str) -> Done:
    token = world.api.token
    assert token is not None
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "STOREFLEET_URL": world.api.base,
            "STOREFLEET_TOKEN": token,
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), timeout=60)
    return Done(process.returncode or 0, out.decode(), err.decode())


async def test_seed_creates_one_store_per_engine_once(platform: World) -> None:
    first = await seed(platform)
    assert first.status == 0, first.err
    names = [engine["name"] for engine in (await platform.api.get("/engines")).body["data"]]
    for name in names:
        store = await platform.api.store(f"demo-{name}")
        assert (store["state"], store["engine"]) == ("ready", name)
        assert store["url"] in first.out
    before = [store["id"] for store in (await platform.api.get("/stores")).body["data"]]
    again = await seed(platform)
    assert again.status == 0, again.err
    assert "exists" in again.out
    assert [store["id"] for store in (await platform.api.get("/stores")).body["data"]] == before


async def test_seed_concurrent_runs_create_one_store(platform: World) -> None:
    done = await asyncio.gather(*(seed(platform, "--prefix", "twin", "shop") for _ in range(2)))
    assert [each.status for each in done] == [0, 0], done
    assert (await platform.api.store("twin-shop"))["state"] == "ready"
    assert (await seed(platform, "--prefix", "twin", "shop")).status == 0


async def test_seed_reports_rejected_request(platform: World) -> None:
    unknown = await seed(platform, "no-such-engine")
    assert unknown.status == 1
    assert "422 invalid" in unknown.err
    assert "docs/operations.md" in unknown.err
    stranger = await seed(platform, STOREFLEET_TOKEN="sf_wrong")
    assert stranger.status == 1
    assert "401 unauthenticated" in stranger.err
    away = await seed(platform, STOREFLEET_URL="http://127.0.0.1:9")
    assert away.status == 1
    assert "does not answer" in away.err


async def test_seed_dry_run_creates_nothing(platform: World) -> None:
    done = await seed(platform, "--dry-run", "--prefix", "dry")
    assert done.status == 0
    assert "dry-ENGINE" in done.out
    assert (await platform.api.get("/stores/dry-shop")).status == 404


async def test_seed_without_platform_explains_next_step(platform: World, tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "seed-stores.sh"
    (tmp_path / "scripts" / "setup").mkdir(parents=True)
    script.symlink_to(SCRIPT)
    (tmp_path / "scripts" / "setup" / "common.sh").symlink_to(
        ROOT / "scripts" / "setup" / "common.sh"
    )
    process = await asyncio.create_subprocess_exec(
        script,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), timeout=30)
    assert process.returncode == 1
    assert "make up" in err.decode()
