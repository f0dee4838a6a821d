"""Run the steps of the kubernetes runtime on a real cluster, without a platform."""

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
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.manifests import locate_store
from storefleet.runtimes.kubernetes.readiness.waiter import STOP_MODE
from storefleet.runtimes.kubernetes.runtime import KubernetesRuntime
from storefleet.runtimes.protocol import RuntimeStep, StepContext, VersionChange
from storefleet.runtimes.storefront_observation import StorefrontObservation
from tests.support.cluster.container_images import make_pocket_image
from tests.support.cluster.samples import ENGINES, a_store, pocket_engines
from tests.support.services.platform import ROOT, Platform, run_platform

#: Read at import, because the tests remove settings from the environment.
KUBECONFIG = os.environ.get("STOREFLEET_TEST_KUBECONFIG", "")
BARE_CLUSTER = os.environ.get("STOREFLEET_TEST_BARE_CLUSTER", str(ROOT / "tools" / "bare-cluster"))


#: Effects of upgrades, automatic rollbacks and rollbacks only.
IN_CHANGE = ("create_task", "record_dump", "delete_task", "scale_web")


def get_kubeconfig() -> str:
    assert KUBECONFIG, (
        "These tests need a cluster. Set STOREFLEET_TEST_KUBECONFIG to its kubeconfig."
    )
    return KUBECONFIG


def find_helm() -> str:
    program = shutil.which("helm")
    assert program, "Helm 4 is not on PATH."
    return program


def load_pocket_image(folder: Path) -> None:
    """Load the image onto the node, which has no registry to pull it from."""
    run_bare_cluster("load-image", str(make_pocket_image(folder)))


def run_bare_cluster(*words: str) -> None:
    """Run a command of `tools/bare-cluster` for the cluster of the tests."""
    subprocess.run([BARE_CLUSTER, *words], check=True, timeout=300)


def make_proxied_kubeconfig(port: int, folder: Path) -> tuple[str, tuple[str, int]]:
    """Write a kubeconfig that uses a proxy on this port; return it and the proxy's target."""
    content = yaml.safe_load(Path(get_kubeconfig()).read_text(encoding="utf-8"))
    cluster = content["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    assert server.hostname
    cluster |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": server.hostname}
    path = folder / "kubeconfig-through-a-proxy"
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return str(path), (server.hostname, server.port or 443)


class Bench:
    """A runtime on the cluster, a separate client of the cluster, and the started stores."""

    def __init__(self, runtime: KubernetesRuntime, cluster: KubernetesClient) -> None:
        self.runtime = runtime
        self.cluster = cluster
        self.messages: list[str] = []
        self.results: list[str] = []
        self.warnings: list[str] = []
        self.baselines: dict[str, StorefrontObservation] = {}
        self._stores: list[Store] = []

    def make_store(self, **parameters: Any) -> Store:
        store_id = generate_id("sto")
        store = a_store(store_id, name=f"t-{store_id[4:12]}", **parameters)
        self._stores.append(store)
        return store

    async def create(self, store: Store, *, within: float = 60, operation: str = "") -> Store:
        """Run all steps like a worker: waits and transient failures are retried."""
        return await self._run_steps(self.runtime.create_steps(store), store, within, operation)

    async def upgrade(
        self, store: Store, to: str, *, within: float = 60, operation: str = ""
    ) -> Store:
        """Run all steps; on a permanent failure, run the automatic rollback and raise the error."""
        operation = operation or generate_id("op")
        change = VersionChange(store.engine_version, to, dump_operation_id=operation)
        try:
            await self._run_steps(
                self.runtime.upgrade_steps(store, change), store, within, operation, change
            )
        except NothingChanged:
            raise
        except PermanentError:
            await self._run_steps(
                self.runtime.automatic_rollback_steps(store, change),
                store,
                within,
                operation,
                change,
            )
            raise
        return store.copy_with(engine_version=to)

    async def roll_back(
        self,
        store: Store,
        to: str,
        dump: str = "",
        *,
        discard: bool = False,
        operation: str = "",
    ) -> Store:
        """Roll back, with the dump of an operation or without one."""
        change = VersionChange(
            store.engine_version,
            to,
            restore=bool(dump),
            discard_orders=discard,
            dump_operation_id=dump,
        )
        await self._run_steps(
            self.runtime.rollback_steps(store, change), store, 60, operation, change
        )
        return store.copy_with(engine_version=to)

    async def delete(self, store: Store, *, within: float = 60) -> None:
        await self._run_steps(self.runtime.delete_steps(store), store, within, "")
        if store in self._stores:
            self._stores.remove(store)

    async def expect_failure(self, store: Store, *, within: float = 90) -> PermanentError:
        """Run a creation that must fail, and return its error."""
        try:
            await self.create(store, within=within)
        except PermanentError as error:
            return error
        raise AssertionError("the creation did not fail")

    async def run_step(self, store: Store, name: str, *, operation: str = "") -> None:
        step = next(step for step in self.runtime.create_steps(store) if step.name == name)
        await step.run(self.make_context(store, operation))

    async def wait_until_ready(self, store: Store) -> None:
        """Wait until the store's workloads are ready and no old pod is left."""
        waiter = self.runtime._version_steps._readiness_waiter
        location = locate_store(store, self.runtime._settings)
        await waiter.wait_until_ready(self.make_context(store), location, STOP_MODE)

    def make_context(self, store: Store, operation: str = "") -> StepContext:
        async def report_progress(message: str) -> None:
            if not self.messages or self.messages[-1] != message:
                self.messages.append(message)

        return StepContext(
            store=store,
            operation_id=operation or generate_id("op"),
            report_progress=report_progress,
        )

    async def _run_steps(
        self,
        steps: Sequence[RuntimeStep],
        store: Store,
        within: float,
        operation: str,
        change: VersionChange | None = None,
    ) -> Store:
        work, deadline = (
            replace(
                self.make_context(store, operation),
                change=change,
                baseline=self.baselines.get(operation),
            ),
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
                            f"{step.name} within {within} s: {error}; {self.messages[-5:]}"
                        ) from error
                    await asyncio.sleep(0.5)
            self.results.append(outcome.message)
            if outcome.warning:
                self.warnings.append(outcome.warning)
            if outcome.baseline:
                self.baselines[work.operation_id] = outcome.baseline
                work = replace(work, baseline=outcome.baseline)
            if outcome.address:
                store = store.copy_with(
                    url=outcome.address.url, admin_url=outcome.address.admin_url
                )
                work = replace(work, store=store)
        assert time.monotonic() < deadline, f"took longer than {within} s"
        return store

    async def fix_cause(self, store: Store) -> None:
        """Fix the cause of the troubles “setup” and “crash”."""
        metadata = {"name": "blessing", "namespace": make_resource_name(store.id)}
        manifest: Manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"blessing": "yes"},
        }
        await self.cluster.apply(manifest)

    async def list_release_statuses(self, store: Store) -> list[str]:
        """Return the statuses of the Helm release's revisions, oldest first."""
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

    async def delete_leftovers(self) -> None:
        """Delete the namespaces that tests left, without the runtime."""
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
async def open_bench(
    *, config: str = "", engines: EngineCatalogue | None = None, **fields: Any
) -> AsyncIterator[Bench]:
    """Open a runtime and a client; `config` is another kubeconfig for the runtime only."""
    settings = Settings(
        runtime="kubernetes",
        kubeconfig=config or get_kubeconfig(),
        helm=find_helm(),
        engines_path=(ENGINES,),
        **fields,
    )
    made = KubernetesRuntime(settings=settings, engines=engines or pocket_engines())
    async with (
        KubernetesClient(kubeconfig=get_kubeconfig()).open_resources() as cluster,
        made.open_resources() as runtime,
    ):
        bench = Bench(runtime, cluster)
        try:
            yield bench
        finally:
            await bench.delete_leftovers()


@contextmanager
def run_killable_platform(folder: Path) -> Iterator[Platform]:
    """Run a platform with failpoints and short timeouts, which notices a killed process soon."""
    settings = {
        "runtime": "kubernetes",
        "kubeconfig": get_kubeconfig(),
        "helm": find_helm(),
        "failpoint_file": folder / "armed",
        "failpoint_log": folder / "visited",
        "lease": 2,
        "scan_interval": 0.2,
        "redispatch_after": 1,
        "restart_backoff": 0.2,
        "stores_per_hour": 10_000,
    }
    with run_platform(folder / "state", engines=ENGINES, engine="pocket", **settings) as platform:
        yield platform


def list_effects() -> set[str]:
    """Return every failpoint in the source of the Kubernetes runtime."""
    names = {
        str(node.args[0].value)
        for path in (ROOT / "libs" / "storefleet" / "runtimes" / "kubernetes").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "effect"
        if isinstance(node.args[0], ast.Constant)
    }
    return {f"{name}:{side}" for name in names for side in ("before", "after")}


async def wait_for_status(bench: Bench, store: Store, status: str) -> None:
    """Wait until the release has a revision with this status; poll fast, since it is short."""
    async with asyncio.timeout(20):
        while True:
            try:
                if status in await bench.list_release_statuses(store):
                    return
            except StorefleetError:
                pass
