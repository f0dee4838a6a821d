"""A real cluster, and stores made in it by the steps of the kubernetes runtime, without a platform around them."""

import ast
import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from storefleet.core.errors import (
    DependencyUnavailable,
    NothingChanged,
    PermanentError,
    StorefleetError,
    TransientError,
    Wait,
)
from storefleet.core.identifiers import generate_id, make_resource_name
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engines
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.runtime import KubernetesRuntime
from storefleet.runtimes.protocol import RuntimeStep, StepContext, VersionChange
from tests.support.images import make_pocket_image
from tests.support.kubernetes import ENGINES, a_store, pocket_engines
from tests.support.platform import ROOT, Platform, running

#: Read before the tests' own rule that no setting of their caller gets in.
KUBECONFIG = os.environ.get("STOREFLEET_TEST_KUBECONFIG", "")
BARE_CLUSTER = os.environ.get("STOREFLEET_TEST_BARE_CLUSTER", str(ROOT / "tools" / "bare-cluster"))


#: Effects that only an upgrade, its way back or a rollback has.
IN_CHANGE = ("create_task", "record_dump", "delete_task", "scale_web")


def kubeconfig() -> str:
    assert KUBECONFIG, (
        "STOREFLEET_TEST_KUBECONFIG has to name the kubeconfig of a cluster for tests"
    )
    return KUBECONFIG


def helm_program() -> str:
    program = shutil.which("helm")
    assert program, "Helm 4 has to be on PATH"
    return program


def load_pocket_image(folder: Path) -> None:
    """Onto the node, which has no registry to pull it from."""
    bare_cluster("load-image", str(make_pocket_image(folder)))


def bare_cluster(*words: str) -> None:
    """A command to the cluster that the tests run on."""
    subprocess.run([BARE_CLUSTER, *words], check=True, timeout=300)


def through(port: int, folder: Path) -> tuple[str, tuple[str, int]]:
    """A kubeconfig that leads to the cluster through a proxy on this port, and where that has to lead."""
    content = yaml.safe_load(Path(kubeconfig()).read_text(encoding="utf-8"))
    cluster = content["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    assert server.hostname
    cluster |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": server.hostname}
    path = folder / "kubeconfig-through-a-proxy"
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return str(path), (server.hostname, server.port or 443)


class Bench:
    """A runtime on the cluster, a look at the cluster beside it, and every store that was begun."""

    def __init__(self, runtime: KubernetesRuntime, cluster: KubernetesClient) -> None:
        self.runtime = runtime
        self.cluster = cluster
        self.said: list[str] = []
        self._stores: list[Store] = []

    def store(self, **parameters: Any) -> Store:
        store_id = generate_id("sto")
        store = a_store(store_id, name=f"t-{store_id[4:12]}", **parameters)
        self._stores.append(store)
        return store

    async def create(self, store: Store, *, within: float = 60, operation: str = "") -> Store:
        """All steps to their end, as a worker runs them: waits and transient failures are tried again."""
        return await self._run(self.runtime.create_steps(store), store, within, operation)

    async def upgrade(
        self, store: Store, to: str, *, within: float = 60, operation: str = ""
    ) -> Store:
        """All steps; when one fails for good, all steps back, and then its error."""
        operation = operation or generate_id("op")
        change = VersionChange(store.engine_version, to, dump=operation)
        try:
            await self._run(
                self.runtime.upgrade_steps(store, change), store, within, operation, change
            )
        except NothingChanged:
            raise
        except PermanentError:
            await self._run(
                self.runtime.automatic_rollback_steps(store, change),
                store,
                within,
                operation,
                change,
            )
            raise
        return store.copy_with(engine_version=to)

    async def roll_back(
        self, store: Store, to: str, dump: str = "", *, discard: bool = False
    ) -> Store:
        """With the dump of an operation, or without."""
        change = VersionChange(
            store.engine_version, to, restore=bool(dump), discard_orders=discard, dump=dump
        )
        await self._run(self.runtime.rollback_steps(store, change), store, 60, "", change)
        return store.copy_with(engine_version=to)

    async def delete(self, store: Store, *, within: float = 60) -> None:
        await self._run(self.runtime.delete_steps(store), store, within, "")
        if store in self._stores:
            self._stores.remove(store)

    async def fails(self, store: Store, *, within: float = 90) -> PermanentError:
        """What a creation that must fail fails with."""
        try:
            await self.create(store, within=within)
        except PermanentError as error:
            return error
        raise AssertionError("it did not fail")

    async def step(self, store: Store, name: str, *, operation: str = "") -> None:
        step = next(step for step in self.runtime.create_steps(store) if step.name == name)
        await step.run(self.work(store, operation))

    def work(self, store: Store, operation: str = "") -> StepContext:
        async def report_progress(message: str) -> None:
            if not self.said or self.said[-1] != message:
                self.said.append(message)

        return StepContext(
            store=store,
            operation_id=operation or generate_id("op"),
            report_progress=report_progress,
        )

    async def _run(
        self,
        steps: Sequence[RuntimeStep],
        store: Store,
        within: float,
        operation: str,
        change: VersionChange | None = None,
    ) -> Store:
        work, deadline = (
            replace(self.work(store, operation), change=change),
            time.monotonic() + within,
        )
        for step in steps:
            while True:
                try:
                    outcome = await step.run(work)
                    break
                except (Wait, DependencyUnavailable, TransientError) as error:
                    if time.monotonic() > deadline:
                        raise AssertionError(
                            f"{step.name} within {within} s: {error}; {self.said[-5:]}"
                        ) from error
                    await asyncio.sleep(0.5)
            if outcome.address:
                store = store.copy_with(
                    url=outcome.address.url, admin_url=outcome.address.admin_url
                )
                work = replace(work, store=store)
        assert time.monotonic() < deadline, f"took longer than {within} s"
        return store

    async def bless(self, store: Store) -> None:
        """Take away what makes “setup” and “crash” fail."""
        metadata = {"name": "blessing", "namespace": make_resource_name(store.id)}
        manifest: Manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"blessing": "yes"},
        }
        await self.cluster.apply(manifest)

    async def releases(self, store: Store) -> list[str]:
        """Statuses of the Helm release's revisions, oldest first."""
        secrets = await self.cluster.list_objects(
            resource_kinds.SECRET, namespace=make_resource_name(store.id), labels="owner=helm"
        )
        labels = sorted(
            (each["metadata"]["labels"] for each in secrets), key=lambda each: int(each["version"])
        )
        return [each["status"] for each in labels]

    async def exists(self, store: Store) -> bool:
        return (
            await self.cluster.get(resource_kinds.NAMESPACE, make_resource_name(store.id))
            is not None
        )

    async def clean(self) -> None:
        """Take away what tests left, without asking the runtime."""
        for store in self._stores:
            namespace = await self.cluster.get(
                resource_kinds.NAMESPACE, make_resource_name(store.id)
            )
            if namespace is not None:
                await self.cluster.delete(
                    resource_kinds.NAMESPACE,
                    make_resource_name(store.id),
                    uid=namespace["metadata"]["uid"],
                )


@asynccontextmanager
async def opened_bench(
    *, config: str = "", engines: Engines | None = None, **fields: Any
) -> AsyncIterator[Bench]:
    """`config` leads the runtime another way than the look beside it."""
    settings = Settings(
        runtime="kubernetes",
        kubeconfig=config or kubeconfig(),
        helm=helm_program(),
        engines_path=(ENGINES,),
        **fields,
    )
    made = KubernetesRuntime(settings=settings, engines=engines or pocket_engines())
    async with (
        KubernetesClient(kubeconfig=kubeconfig()).opened() as cluster,
        made.opened() as runtime,
    ):
        bench = Bench(runtime, cluster)
        try:
            yield bench
        finally:
            await bench.clean()


@contextmanager
def platform_that_is_killed(folder: Path) -> Iterator[Platform]:
    """With failpoints, and impatient enough to notice soon that a process is gone."""
    settings = {
        "runtime": "kubernetes",
        "kubeconfig": kubeconfig(),
        "helm": helm_program(),
        "failpoint_file": folder / "armed",
        "failpoint_log": folder / "visited",
        "lease": 2,
        "scan_interval": 0.2,
        "redispatch_after": 1,
        "restart_backoff": 0.2,
        "stores_per_hour": 10_000,
    }
    with running(folder / "state", engines=ENGINES, engine="pocket", **settings) as platform:
        yield platform


def effects_in_source() -> set[str]:
    """Every place in the runtime where a test may kill it."""
    names = {
        str(node.args[0].value)
        for path in (ROOT / "libs" / "storefleet" / "runtimes" / "kubernetes").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "effect"
        if isinstance(node.args[0], ast.Constant)
    }
    return {f"{name}:{side}" for name in names for side in ("before", "after")}


async def until_status(bench: Bench, store: Store, status: str) -> None:
    """Until Helm has written down a revision with this status; fast, since it does not last."""
    async with asyncio.timeout(20):
        while True:
            try:
                if status in await bench.releases(store):
                    return
            except StorefleetError:
                pass
