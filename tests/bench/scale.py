"""Benchmark many stores on simulated nodes: throughput compared with a script, cost per store.

It creates and removes its own cluster and platform. Half of the script's stores are created before
the platform's and half after, because the cluster holds more by then. The platform is stopped
while the script runs.
"""

import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from storefleet.engines import catalogue
from storefleet.engines.descriptor import Engine
from tests.bench import cluster, reference, stage
from tests.bench.figures import Sheet
from tests.bench.fleet import Fleet, create_fleet
from tests.support.services.platform import ROOT, Platform

PART = "scale"
ENGINE = "oscar"
STORES = int(os.environ.get("STOREFLEET_BENCH_STORES", "200"))
CROWD = int(os.environ.get("STOREFLEET_BENCH_CROWD", "1000"))
ALONE, IDLE = 11, 60.0
WORKERS = 20
_CREATION_TIMEOUT_S = 1800.0  # for any number of stores
_SETTLE_TIMEOUT_S = 180.0
_IDLE_CPU_SHARE = 0.25  # of a core, for all programs of the control plane together
_BATCH_SIZE = 200  # requested at once: none may wait in the queue until an operation's deadline
_WARM_UP = 2
_PROBE_INTERVAL_S = 3.0  # as in charts/platform


def measure(runs: int) -> Sheet:
    """Measure once, which takes about a quarter of an hour; `runs` is not used."""
    del runs
    sheet = Sheet(PART)
    engine = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes").get_offered(ENGINE)
    with create_fleet(engine) as made:
        staged = _make_platform(made)
        try:
            _measure_fleet(sheet, made, engine, staged)
        finally:
            shutil.rmtree(staged.state_dir, ignore_errors=True)
    return sheet


def _measure_fleet(sheet: Sheet, made: Fleet, engine: Engine, staged: Platform) -> None:
    half = STORES // 2
    script = [_run_script(made, engine, half)]
    with _run_platform(staged):
        _create_stores(staged, "warm", _WARM_UP)
        few = _measure_single_stores(sheet, made, staged, "few")
        rate = _measure_throughput(sheet, made, staged)
    _wait_until_pods_are_ready(made)
    script.append(_run_script(made, engine, half))
    with _run_platform(staged):
        _fill_cluster(sheet, made, staged)
        many = _measure_single_stores(sheet, made, staged, "many")
        idle = _measure_idle_request_rate(staged)
    slow = 60 * 2 * half / sum(seconds for seconds, _ in script)
    sheet.add_value(
        f"script by xargs -P{reference.AT_ONCE}, {half} stores twice", "stores/min", slow
    )
    sheet.add_value("platform ÷ script", "ratio", rate / slow, limit=0.8, least=True)
    _add_comparison(sheet, few, many)
    sheet.add_value(
        f"API server's requests from the idle platform, {CROWD} stores", "1/s", idle, limit=1
    )
    sheet.add_note(
        f"Halves of the script: "
        f"{', '.join(f'{60 * half / seconds:.1f} stores/min' for seconds, _ in script)}."
    )
    sheet.add_note(
        f"Stores for which the script needed Helm twice: {sum(again for _, again in script)}."
    )


def _make_platform(made: Fleet) -> Platform:
    return Platform(
        made.folder / "state",
        engines=ROOT / "charts",
        engine=ENGINE,
        runtime="kubernetes",
        kubeconfig=made.kubeconfig,
        helm=made.programs / "helm",
        helm_runs=5,
        workers=WORKERS,
        stores_per_hour=1_000_000,
        stores_per_tenant=1_000_000,
    )


@contextmanager
def _run_platform(staged: Platform) -> Iterator[None]:
    try:
        staged.up()
        yield
    finally:
        staged.down()
        # The next start is ready when this file exists.
        (staged.state_dir / "admin.json").unlink(missing_ok=True)


def _count_ended_operations(staged: Platform) -> float:
    return stage.read_counter(staged, "provisioner", "storefleet_operations_total")


def _create_stores(staged: Platform, prefix: str, count: int) -> float:
    """Request all stores at once; return the seconds until they are ready."""
    goal, began = _count_ended_operations(staged) + count, time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: stage.call_as_operator(
                    staged, "POST", "stores", {"name": f"{prefix}-{number}"}
                ),
                range(count),
            )
        )
    while _count_ended_operations(staged) < goal:
        if time.perf_counter() - began > _CREATION_TIMEOUT_S:
            raise RuntimeError(
                f"{goal - _count_ended_operations(staged):.0f} of {count} stores were not created "
                f"within {_CREATION_TIMEOUT_S:.0f} s"
            )
        time.sleep(0.25)
    seconds = time.perf_counter() - began
    _require_no_failure(staged, f"{prefix}-")
    return seconds


def _require_no_failure(staged: Platform, prefix: str) -> None:
    page = stage.call_as_operator(staged, "GET", "stores?state=failed&limit=100")["data"]
    failed = [store for store in page if store["name"].startswith(prefix)]
    if failed:
        raise RuntimeError(
            f"{len(failed)} stores failed, such as {failed[0]['name']}: {failed[0]['failure']}"
        )


def _measure_single_stores(
    sheet: Sheet, made: Fleet, staged: Platform, prefix: str
) -> list[dict[str, float]]:
    """Create stores one at a time in a settled cluster; count the control plane's work for each."""
    there, idle = _count_stores(made), _wait_until_control_plane_is_idle(made)
    sheet.add_note(f"The control plane, idle with {there} stores, took {idle:.2f} of a processor.")
    before = made.get_cpu_seconds()
    stores = [_create_single_store(staged, f"{prefix}-{number}") for number in range(ALONE)]
    spent = {
        name: 1000 * (seconds - before.get(name, 0.0)) / ALONE
        for name, seconds in made.get_cpu_seconds().items()
    }
    words = ", ".join(
        f"{name} {spent[name]:.0f}"
        for name in sorted(spent, key=spent.__getitem__, reverse=True)[:8]
    )
    sheet.add_note(f"CPU for each of {ALONE} single stores, {there} there, ms: {words}.")
    return stores


def _create_single_store(staged: Platform, name: str) -> dict[str, float]:
    """Create a store on an idle platform; return the seconds until ready, and of each step."""
    time.sleep(1)  # the previous store may still cause work
    operation = stage.call_as_operator(staged, "POST", "stores", {"name": name})["operation"]
    while not operation["done"]:
        operation = stage.call_as_operator(staged, "GET", f"operations/{operation['id']}?wait=60")
    if operation["state"] != "succeeded":
        raise RuntimeError(f"{name} ended {operation['state']}: {operation['error']}")
    # Not timed here: a waiting request returns up to half a second later.
    whole = cluster.get_duration_s(operation, "created_at")
    return {
        "": whole,
        **{step["name"]: cluster.get_duration_s(step) for step in operation["steps"]},
    }


def _measure_throughput(sheet: Sheet, made: Fleet, staged: Platform) -> float:
    """Create stores at once; return stores per minute, and add requests and CPU per store."""
    asked, busy, control = (
        _count_api_requests(staged),
        stage.get_cpu_seconds(staged),
        made.get_cpu_seconds(),
    )
    with _measure_provisioner_memory(sheet, staged, f"{STORES} stores at once"):
        seconds = _create_stores(staged, "fast", STORES)
    rate = 60 * STORES / seconds
    sheet.add_value(f"platform, {STORES} stores at once", "stores/min", rate)
    sheet.add_value(
        "API requests of the platform for a store",
        "requests",
        (_count_api_requests(staged) - asked) / STORES,
    )
    for name, now in stage.get_cpu_seconds(staged).items():
        sheet.add_value(f"CPU of {name} for a store", "ms", 1000 * (now - busy[name]) / STORES)
    spent = sum(made.get_cpu_seconds().values()) - sum(control.values())
    sheet.add_value("CPU of the control plane for a store", "ms", 1000 * spent / STORES)
    return rate


@contextmanager
def _measure_provisioner_memory(sheet: Sheet, staged: Platform, what: str) -> Iterator[None]:
    """Add the provisioner's peak memory during the block, without its Helm processes."""
    pid = staged.pid("provisioner")
    assert pid is not None
    with (
        _track_maximum(lambda: stage.get_proportional_bytes(pid)) as memory,
        _track_maximum(lambda: stage.get_resident_bytes(pid)) as resident,
    ):
        yield
    sheet.add_value(f"provisioner's memory, resident, {what}", "MB", resident[0] / 2**20, limit=200)
    sheet.add_value(f"  proportional, {what}", "MB", memory[0] / 2**20)


@contextmanager
def _track_maximum(look: Callable[[], int]) -> Iterator[list[int]]:
    """Sample a value during the block; the only element of the list is the maximum."""
    greatest, over = [look()], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            greatest[0] = max(greatest[0], look())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield greatest
    finally:
        over.set()
        thread.join()


def _fill_cluster(sheet: Sheet, made: Fleet, staged: Platform) -> None:
    """Create stores on the platform until the cluster has `CROWD` of them."""
    missing = CROWD - _count_stores(made)
    if missing > 0:
        with _measure_provisioner_memory(sheet, staged, f"up to {CROWD} stores"):
            batches = [
                min(_BATCH_SIZE, missing - begin) for begin in range(0, missing, _BATCH_SIZE)
            ]
            seconds = sum(
                _create_stores(staged, f"crowd-{number}", size)
                for number, size in enumerate(batches)
            )
        sheet.add_value(f"platform, up to {CROWD} stores", "stores/min", 60 * missing / seconds)
    _wait_until_pods_are_ready(made)
    sheet.add_note(
        f"Namespaces of stores during the last figures: {_count_stores(made)}"
        f" and up to {ALONE} more."
    )


def _count_stores(made: Fleet) -> int:
    return made.count_objects("namespaces", labels="storefleet.dev/store")


def _add_comparison(
    sheet: Sheet, few: list[dict[str, float]], many: list[dict[str, float]]
) -> None:
    for there, stores in ((f"{STORES // 2 + _WARM_UP}", few), (f"{CROWD}", many)):
        for store in stores:
            for step, seconds in store.items():
                sheet.add_value(
                    f"  {step}, {there}"
                    if step
                    else f"create → ready, alone, {there} stores there",
                    "s",
                    seconds,
                )
    change = statistics.median(store[""] for store in many) / statistics.median(
        store[""] for store in few
    )
    sheet.add_value("the latter ÷ the former", "ratio", change, limit=1.2)


def _measure_idle_request_rate(staged: Platform) -> float:
    """Return the idle platform's API requests per second, with the probes of its chart."""
    before, deadline = _count_api_requests(staged), time.monotonic() + IDLE
    while time.monotonic() < deadline:
        for service in stage.SERVICES:
            stage.check_readiness(staged, service)
        time.sleep(_PROBE_INTERVAL_S)
    return (_count_api_requests(staged) - before) / IDLE


def _count_api_requests(staged: Platform) -> float:
    """Return how many requests the services have sent to the API server, without Helm's."""
    name = "storefleet_kubernetes_requests_total"
    return sum(
        stage.read_counter(staged, service, name)
        for service in ("gateway", "provisioner", "reaper")
    )


def _run_script(made: Fleet, engine: Engine, count: int) -> tuple[float, int]:
    found = reference.run_script(made, engine, count)
    _wait_until_pods_are_ready(made)
    return found


def _wait_until_pods_are_ready(made: Fleet) -> None:
    """Wait until every store has its three pods, and all of them are ready or complete."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while True:
        stores, pods = _count_stores(made), made.count_objects("pods")
        open_ = made.count_objects("pods", fields="status.phase=Pending")
        if pods >= 3 * stores and open_ == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"After {_SETTLE_TIMEOUT_S:.0f} s there are {pods} pods of {stores} stores, "
                f"{open_} of them pending."
            )
        time.sleep(1)


def _wait_until_control_plane_is_idle(made: Fleet) -> float:
    """Wait until the control plane is idle; return its share of a core then."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while True:
        before, began = sum(made.get_cpu_seconds().values()), time.perf_counter()
        time.sleep(5)
        share = (sum(made.get_cpu_seconds().values()) - before) / (time.perf_counter() - began)
        if share < _IDLE_CPU_SHARE or time.monotonic() > deadline:
            return share


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
