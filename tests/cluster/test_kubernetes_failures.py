"""Failures of stores on a real cluster: their named causes, and retries after a fix."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from storefleet.core.errors import PermanentError
from storefleet.core.identifiers import make_resource_name
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import Bench, load_pocket_image, open_bench
from tests.support.cluster.samples import pocket


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


TROUBLES = (
    (
        "image",
        "image_missing",
        130,
        "no-such-image",
    ),  # the node itself retries for most of this time
    ("quota", "quota_exceeded", 45, "exceeded quota: store"),
    ("database-quota", "quota_exceeded", 45, "exceeded quota: store"),
    ("root", "pod_refused", 45, "runAsNonRoot"),
    ("unschedulable", "unschedulable", 65, "0/1 nodes are available"),
    ("setup", "setup_failed", 60, "setup cannot go on: password=(hidden) ((hidden))"),
    ("crash", "store_crashes", 90, "no use: password=(hidden) ((hidden))"),
)


async def test_failed_creations_name_their_cause(bench: Bench) -> None:
    """Run all concurrently: most of the time passes in grace periods."""
    await asyncio.gather(*(_check_cause(bench, *trouble) for trouble in TROUBLES))


async def _check_cause(bench: Bench, trouble: str, code: str, within: float, words: str) -> None:
    store = bench.make_store(trouble=trouble)
    error = await bench.expect_failure(store, within=within)
    assert error.code == code, trouble
    assert words in error.detail, trouble
    assert error.next_step
    await bench.delete(store, within=150)


async def test_retry_continues_after_cause_is_fixed(bench: Bench) -> None:
    await asyncio.gather(*(_check_retry(bench, bench, trouble) for trouble in ("setup", "crash")))


async def test_retry_continues_with_larger_plan(bench: Bench) -> None:
    async with open_bench(engines=_make_larger_plan()) as better:
        await asyncio.gather(
            *(_check_retry(bench, better, trouble) for trouble in ("quota", "database-quota"))
        )


async def _check_retry(bench: Bench, mended: Bench, trouble: str) -> None:
    store = bench.make_store(trouble=trouble)
    await bench.expect_failure(store)
    await bench.fix_cause(store)
    await asyncio.sleep(10)  # by now the controllers' own backoff exceeds the limit below
    await mended.create(store, within=30)
    await bench.delete(store)


def _make_larger_plan() -> EngineCatalogue:
    engine = pocket()
    assert engine.kubernetes
    plan = engine.kubernetes.plan
    larger = plan.model_copy(
        update={"quota": {**plan.quota, "requests.memory": "1Gi", "limits.memory": "1Gi"}}
    )
    kubernetes = engine.kubernetes.model_copy(update={"plans": {"small": larger}})
    return EngineCatalogue(
        [engine.model_copy(update={"kubernetes": kubernetes})], runtime="kubernetes"
    )


async def test_foreign_namespace_is_never_changed(bench: Bench) -> None:
    store = bench.make_store()
    foreign = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": make_resource_name(store.id)},
    }
    await bench.cluster.apply(foreign)
    for act in (bench.create, bench.delete):
        with pytest.raises(PermanentError) as error:
            await act(store)
        assert error.value.code == "namespace_foreign"
    namespace = await bench.cluster.get(resource_kinds.NAMESPACE, make_resource_name(store.id))
    assert namespace is not None
    assert "deletionTimestamp" not in namespace["metadata"]
    assert (
        await bench.cluster.list_objects(
            resource_kinds.SECRET, namespace=make_resource_name(store.id)
        )
        == []
    )
