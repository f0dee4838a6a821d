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
from tests.bench.fleet import Fleet, fleet
from tests.support.services.platform import ROOT, Platform

PART = "scale"
ENGINE = "oscar"
STORES = int(os.environ.get("STOREFLEET_BENCH_STORES", "200"))
CROWD = int(os.environ.get("STOREFLEET_BENCH_CROWD", "1000"))
ALONE, IDLE = 11, 60.0
WORKERS = 20
_LONGEST = 1800.0  # for any number of stores
_SETTLED = 180.0
_QUIET = 0.25  # of a processor, for all programs of the control plane together
_BATCH = 200  # asked for at once: nobody waits in the queue for as long as an operation may take
_WARM_UP = 2
_PROBES = 3.0  # as charts/platform has them


def measure(runs: int) -> Sheet:
    """`runs` is not used: once takes about a quarter of an hour."""
    del runs
    sheet = Sheet(PART)
    engine = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes").get_offered(ENGINE)
    with fleet(engine) as made:
        staged = _platform(made)
        try:
            _measure(sheet, made, engine, staged)
        finally:
            shutil.rmtree(staged.state_dir, ignore_errors=True)
    return sheet


def _measure(sheet: Sheet, made: Fleet, engine: Engine, staged: Platform) -> None:
    half = STORES // 2
    script = [_script(made, engine, half)]
    with _up(staged):
        _together(staged, "warm", _WARM_UP)
        few = _singly(sheet, made, staged, "few")
        rate = _fast(sheet, made, staged)
    _settle(made)
    script.append(_script(made, engine, half))
    with _up(staged):
        _crowd(sheet, made, staged)
        many = _singly(sheet, made, staged, "many")
        idle = _idle(staged)
    slow = 60 * 2 * half / sum(seconds for seconds, _ in script)
    sheet.add(f"script by xargs -P{reference.AT_ONCE}, {half} stores twice", "stores/min", slow)
    sheet.add("platform ÷ script", "ratio", rate / slow, limit=0.8, least=True)
    _compare(sheet, few, many)
    sheet.add(f"API server's requests from the idle platform, {CROWD} stores", "1/s", idle, limit=1)
    sheet.note(
        f"Halves of the script: "
        f"{', '.join(f'{60 * half / seconds:.1f} stores/min' for seconds, _ in script)}."
    )
    sheet.note(
        f"Stores for which the script needed Helm twice: {sum(again for _, again in script)}."
    )


def _platform(made: Fleet) -> Platform:
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
def _up(staged: Platform) -> Iterator[None]:
    try:
        staged.up()
        yield
    finally:
        staged.down()
        (staged.state_dir / "admin.json").unlink(
            missing_ok=True
        )  # the next `up` is there when this is


def _ended(staged: Platform) -> float:
    return stage.counter(staged, "provisioner", "storefleet_operations_total")


def _together(staged: Platform, prefix: str, count: int) -> float:
    """Seconds until so many stores, all asked for at once, are ready."""
    goal, began = _ended(staged) + count, time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: stage.call(staged, "POST", "stores", {"name": f"{prefix}-{number}"}),
                range(count),
            )
        )
    while _ended(staged) < goal:
        if time.perf_counter() - began > _LONGEST:
            raise RuntimeError(
                f"{goal - _ended(staged):.0f} of {count} stores were not created "
                f"within {_LONGEST:.0f} s"
            )
        time.sleep(0.25)
    seconds = time.perf_counter() - began
    _all_ready(staged, f"{prefix}-")
    return seconds


def _all_ready(staged: Platform, prefix: str) -> None:
    page = stage.call(staged, "GET", "stores?state=failed&limit=100")["data"]
    failed = [store for store in page if store["name"].startswith(prefix)]
    if failed:
        raise RuntimeError(
            f"{len(failed)} stores failed, such as {failed[0]['name']}: {failed[0]['failure']}"
        )


def _singly(sheet: Sheet, made: Fleet, staged: Platform, prefix: str) -> list[dict[str, float]]:
    """Create stores one at a time in a settled cluster; count the control plane's work for each."""
    there, idle = _present(made), _quiet(made)
    sheet.note(f"The control plane, idle with {there} stores, took {idle:.2f} of a processor.")
    before = made.busy()
    stores = [_alone(staged, f"{prefix}-{number}") for number in range(ALONE)]
    spent = {
        name: 1000 * (seconds - before.get(name, 0.0)) / ALONE
        for name, seconds in made.busy().items()
    }
    words = ", ".join(
        f"{name} {spent[name]:.0f}"
        for name in sorted(spent, key=spent.__getitem__, reverse=True)[:8]
    )
    sheet.note(f"CPU for each of {ALONE} single stores, {there} there, ms: {words}.")
    return stores


def _alone(staged: Platform, name: str) -> dict[str, float]:
    """Seconds from acceptance to ready, with nothing else to do, and of its steps."""
    time.sleep(1)  # for what the one before still does
    operation = stage.call(staged, "POST", "stores", {"name": name})["operation"]
    while not operation["done"]:
        operation = stage.call(staged, "GET", f"operations/{operation['id']}?wait=60")
    if operation["state"] != "succeeded":
        raise RuntimeError(f"{name} ended {operation['state']}: {operation['error']}")
    whole = cluster.length(
        operation, "created_at"
    )  # whoever waits for it hears it up to half a second later
    return {"": whole, **{step["name"]: cluster.length(step) for step in operation["steps"]}}


def _fast(sheet: Sheet, made: Fleet, staged: Platform) -> float:
    """Stores a minute, and what they cost."""
    asked, busy, control = _requests(staged), stage.busy(staged), made.busy()
    with _provisioner(sheet, staged, f"{STORES} stores at once"):
        seconds = _together(staged, "fast", STORES)
    rate = 60 * STORES / seconds
    sheet.add(f"platform, {STORES} stores at once", "stores/min", rate)
    sheet.add(
        "API requests of the platform for a store", "requests", (_requests(staged) - asked) / STORES
    )
    for name, now in stage.busy(staged).items():
        sheet.add(f"CPU of {name} for a store", "ms", 1000 * (now - busy[name]) / STORES)
    spent = sum(made.busy().values()) - sum(control.values())
    sheet.add("CPU of the control plane for a store", "ms", 1000 * spent / STORES)
    return rate


@contextmanager
def _provisioner(sheet: Sheet, staged: Platform, what: str) -> Iterator[None]:
    """Its memory while it makes stores, at its height; Helm's is not its own."""
    pid = staged.pid("provisioner")
    assert pid is not None
    with (
        _greatest(lambda: stage.proportional(pid)) as memory,
        _greatest(lambda: stage.resident(pid)) as resident,
    ):
        yield
    sheet.add(f"provisioner's memory, resident, {what}", "MB", resident[0] / 2**20, limit=200)
    sheet.add(f"  proportional, {what}", "MB", memory[0] / 2**20)


@contextmanager
def _greatest(look: Callable[[], int]) -> Iterator[list[int]]:
    """The greatest value seen while it lasts, as the only element."""
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


def _crowd(sheet: Sheet, made: Fleet, staged: Platform) -> None:
    """Fill up with stores of the platform."""
    missing = CROWD - _present(made)
    if missing > 0:
        with _provisioner(sheet, staged, f"up to {CROWD} stores"):
            batches = [min(_BATCH, missing - begin) for begin in range(0, missing, _BATCH)]
            seconds = sum(
                _together(staged, f"crowd-{number}", size) for number, size in enumerate(batches)
            )
        sheet.add(f"platform, up to {CROWD} stores", "stores/min", 60 * missing / seconds)
    _settle(made)
    sheet.note(
        f"Namespaces of stores during the last figures: {_present(made)} and up to {ALONE} more."
    )


def _present(made: Fleet) -> int:
    return made.count("namespaces", labels="storefleet.dev/store")


def _compare(sheet: Sheet, few: list[dict[str, float]], many: list[dict[str, float]]) -> None:
    for there, stores in ((f"{STORES // 2 + _WARM_UP}", few), (f"{CROWD}", many)):
        for store in stores:
            for step, seconds in store.items():
                sheet.add(
                    f"  {step}, {there}"
                    if step
                    else f"create → ready, alone, {there} stores there",
                    "s",
                    seconds,
                )
    change = statistics.median(store[""] for store in many) / statistics.median(
        store[""] for store in few
    )
    sheet.add("the latter ÷ the former", "ratio", change, limit=1.2)


def _idle(staged: Platform) -> float:
    """With the probes that the chart makes."""
    before, deadline = _requests(staged), time.monotonic() + IDLE
    while time.monotonic() < deadline:
        for service in stage.SERVICES:
            stage.probe(staged, service)
        time.sleep(_PROBES)
    return (_requests(staged) - before) / IDLE


def _requests(staged: Platform) -> float:
    """What the services have asked of the API server so far, by their own count, without Helm."""
    name = "storefleet_kubernetes_requests_total"
    return sum(
        stage.counter(staged, service, name) for service in ("gateway", "provisioner", "reaper")
    )


def _script(made: Fleet, engine: Engine, count: int) -> tuple[float, int]:
    found = reference.run(made, engine, count)
    _settle(made)
    return found


def _settle(made: Fleet) -> None:
    """Until every store has its three pods, and all of them are ready or done."""
    deadline = time.monotonic() + _SETTLED
    while True:
        stores, pods = _present(made), made.count("pods")
        open_ = made.count("pods", fields="status.phase=Pending")
        if pods >= 3 * stores and open_ == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"After {_SETTLED:.0f} s there are {pods} pods of {stores} stores, "
                f"{open_} of them pending."
            )
        time.sleep(1)


def _quiet(made: Fleet) -> float:
    """Until the control plane has caught up with itself: what it takes then, of a processor."""
    deadline = time.monotonic() + _SETTLED
    while True:
        before, began = sum(made.busy().values()), time.perf_counter()
        time.sleep(5)
        share = (sum(made.busy().values()) - before) / (time.perf_counter() - began)
        if share < _QUIET or time.monotonic() > deadline:
            return share


if __name__ == "__main__":
    from tests.bench.__main__ import alone

    alone(measure)
