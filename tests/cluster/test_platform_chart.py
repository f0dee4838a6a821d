"""The platform's chart on a real cluster: install, test, upgrade under load, uninstall."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.cluster.platform_release import Release, open_trial

RATE = 10  # requests of each kind per second
LONG = 60.0
GUEST = "storefleet-guest"
SECRETS = {f"secret/storefleet-{name}" for name in ("postgres", "database", "nats", "bus", "admin")}
EVERYTHING = (
    "all,secrets,configmaps,persistentvolumeclaims,serviceaccounts,roles,rolebindings,"
    "networkpolicies,ingresses"
)


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    with open_trial("storefleet-trial") as made:
        made.install()
        yield made
        made.uninstall()


def test_helm_test_succeeds_after_install(release: Release) -> None:
    assert "Succeeded" in release.run_tests()


def test_secret_values_are_not_in_helm_release(release: Release) -> None:
    assert set(release.list_names("secrets")) >= SECRETS
    told = release.run_kubectl("get", "secret", "--selector=owner=helm", "--output=json")
    values = [*release.read_owner().values()][2:]
    assert all(value not in told for value in values)
    manifest = release.run_helm("get", "all", "trial")
    assert all(value not in manifest for value in values)


class Load:
    """Creations and reads at a constant rate, each in its own task, so that none delays another."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.statuses: Counter[str] = Counter()
        self.operations: list[str] = []
        self.slowest = 0.0

    async def run(self, upgraded: asyncio.Event) -> None:
        """Run for a minute, and at least until ten seconds after the upgrade."""
        begin, over = time.monotonic(), None
        tasks = set()
        for number in itertools.count():
            tasks.add(asyncio.create_task(self._create(number)))
            tasks.add(asyncio.create_task(self._read()))
            await asyncio.sleep(max(0, begin + (number + 1) / RATE - time.monotonic()))
            if upgraded.is_set():
                over = over or time.monotonic()
                if time.monotonic() > max(over + 10, begin + LONG):
                    break
        await asyncio.gather(*tasks)

    async def _create(self, number: int) -> None:
        answer = await self._ask("POST", "api/v1/stores", json={"name": f"load-{number}"})
        if answer is not None:
            self.operations.append(answer["operation"]["id"])

    async def _read(self) -> None:
        await self._ask("GET", "api/v1/stores?limit=5")

    async def _ask(
        self, method: str, path: str, **more: object
    ) -> dict[str, dict[str, str]] | None:
        began = time.monotonic()
        try:
            async with self._session.request(method, path, **more) as response:  # type: ignore[arg-type]
                self.statuses[f"{method} {response.status}"] += 1
                body: dict[str, dict[str, str]] = await response.json(content_type=None)
                return body if response.status == 202 else None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.statuses[f"{method} {type(error).__name__}"] += 1
            return None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)

    async def ended(self, operation: str) -> str:
        async with self._session.get(f"api/v1/operations/{operation}?wait=30") as response:
            return str((await response.json())["state"])


async def test_upgrade_under_load_returns_no_5xx_and_loses_nothing(release: Release) -> None:
    headers = {"Authorization": f"Bearer {release.read_owner()['token']}"}
    connector = aiohttp.TCPConnector(limit=20)
    async with aiohttp.ClientSession(
        release.get_address("gateway") + "/",
        headers=headers,
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        load, upgraded = Load(session), asyncio.Event()
        running = asyncio.create_task(load.run(upgraded))
        await asyncio.sleep(5)
        before = set(release.list_names("pods"))
        try:
            await asyncio.to_thread(release.install, settings={"BODY_LIMIT": 60_000})
        finally:
            upgraded.set()
            await running
        print(dict(load.statuses), f"slowest {load.slowest:.2f} s")
        assert set(load.statuses) == {"POST 202", "GET 200"}, load.statuses
        services = ("gateway", "notifier", "provisioner", "reaper")
        left = [
            pod
            for pod in set(release.list_names("pods")) & before
            if pod.startswith(tuple(f"pod/{s}" for s in services))
        ]
        assert left == [], "the upgrade replaces every service's pod"
        states = Counter(
            await asyncio.gather(*(load.ended(operation) for operation in load.operations))
        )
        assert states == {"succeeded": load.statuses["POST 202"]}


def test_upgrade_keeps_secrets(release: Release) -> None:
    before = {name: release.get_object(name)["data"] for name in SECRETS}
    release.install(settings={"BODY_LIMIT": 61_000})
    assert {name: release.get_object(name)["data"] for name in SECRETS} == before
    assert "Succeeded" in release.run_tests()


def test_restarted_servers_keep_data(release: Release) -> None:
    release.run_kubectl("delete", "pod", "postgres-0", "nats-0", "--wait=true")
    release.run_kubectl(
        "wait", "pod/postgres-0", "pod/nats-0", "--for=condition=Ready", "--timeout=90s"
    )
    assert "Succeeded" in release.run_tests()


def test_external_servers_work(release: Release) -> None:
    """Install a second platform that uses the first one's PostgreSQL and NATS through Secrets."""
    guests = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": GUEST}}}
    policy = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [guests]}]}
    release.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "guests"},
            "spec": policy,
        }
    )
    with open_trial(GUEST) as guest:
        for name in ("database", "bus"):
            data = release.get_object(f"secret/storefleet-{name}")["data"]
            guest.apply(
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
            )
        guest.install(
            admin={"email": "guest@example.com"},
            postgresql={"enabled": False, "external": {"secret": "database"}},
            nats={"enabled": False, "external": {"secret": "bus", "streamReplicas": 1}},
        )
        assert "Succeeded" in guest.run_tests()
        assert guest.list_names("statefulsets") == []
        guest.uninstall()
        assert {"secret/database", "secret/bus"} == set(guest.list_names("secrets"))
    release.run_kubectl("delete", "networkpolicy", "guests")


def test_uninstall_leaves_nothing(release: Release) -> None:
    release.uninstall()
    deadline = time.monotonic() + 60
    own = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
    while left := set(release.list_names(EVERYTHING)) - own:
        assert time.monotonic() < deadline, left
        time.sleep(1)
    volumes = release.run_kubectl("get", "persistentvolumes", "--output=json")
    assert release.namespace not in volumes
