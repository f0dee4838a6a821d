"""The Kubernetes client: its requests, and the mapping of every kind of failure."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from storefleet.core.errors import (
    PermanentError,
    RuntimeUnavailable,
    StorefleetError,
    TransientError,
    Wait,
)
from storefleet.runtimes.kubernetes.api import connection, resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from tests.support.cluster.fake_api_server import FakeApiServer, run_fake_api_server

SECRETS = "/api/v1/namespaces/st-x/secrets"


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeApiServer]:
    async with run_fake_api_server() as fake:
        yield fake


@pytest_asyncio.fixture
async def cluster(fake: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubernetesClient]:
    async with KubernetesClient(kubeconfig=fake.kubeconfig(tmp_path)).open_resources() as cluster:
        yield cluster


def secret(name: str = "one", **fields: object) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "st-x"},
        **fields,
    }


async def test_object_is_created_read_changed_and_deleted(
    cluster: KubernetesClient, fake: FakeApiServer
) -> None:
    assert await cluster.get(resource_kinds.SECRET, "one", namespace="st-x") is None
    assert await cluster.create(secret(stringData={"a": "1"}))
    assert not await cluster.create(secret(stringData={"a": "2"}))
    assert await cluster.patch(
        resource_kinds.SECRET, "one", {"stringData": {"b": "3"}}, namespace="st-x"
    )
    assert not await cluster.patch(resource_kinds.SECRET, "two", {}, namespace="st-x")
    found = await cluster.get(resource_kinds.SECRET, "one", namespace="st-x")
    assert found is not None
    assert found["data"] == {"a": "MQ==", "b": "Mw=="}
    assert (await cluster.apply(secret("two")))["metadata"]["name"] == "two"
    assert [
        each["metadata"]["name"]
        for each in await cluster.list_objects(resource_kinds.SECRET, namespace="st-x")
    ] == ["one", "two"]
    assert await cluster.delete(
        resource_kinds.SECRET, "one", uid=found["metadata"]["uid"], namespace="st-x"
    )
    assert not await cluster.delete(
        resource_kinds.SECRET, "one", uid=found["metadata"]["uid"], namespace="st-x"
    )
    await cluster.delete_collection(resource_kinds.SECRET, namespace="st-x", grace_period_s=1)
    assert not fake.objects


async def test_apply_sets_field_manager(cluster: KubernetesClient, fake: FakeApiServer) -> None:
    await cluster.apply(secret())
    assert fake.asked[-1] == ("PATCH", f"{SECRETS}/one?fieldManager=storefleet&force=true")


async def test_delete_requires_matching_uid(cluster: KubernetesClient, fake: FakeApiServer) -> None:
    await cluster.apply(secret())
    with pytest.raises(TransientError, match="UID") as error:
        await cluster.delete(resource_kinds.SECRET, "one", uid="another", namespace="st-x")
    assert error.value.code == "cluster_conflict"
    assert list(fake.objects) == [f"{SECRETS}/one"]


async def test_long_lists_are_read_in_pages(cluster: KubernetesClient, fake: FakeApiServer) -> None:
    fake.page = 2
    for number in range(5):
        await cluster.apply(secret(f"s{number}"))
    assert len(await cluster.list_objects(resource_kinds.SECRET, namespace="st-x")) == 5
    assert fake.count("GET", "limit=250") == 3


@pytest.mark.parametrize(
    ("status", "message", "kind", "code"),
    [
        (500, "broken", RuntimeUnavailable, "runtime_unavailable"),
        (503, "apiserver not ready", RuntimeUnavailable, "runtime_unavailable"),
        (429, "too many", RuntimeUnavailable, "runtime_unavailable"),
        (404, 'namespaces "st-x" not found', PermanentError, "namespace_missing"),
        (409, "the object has been modified", TransientError, "cluster_conflict"),
        (
            403,
            'secrets is forbidden: User "x" cannot create resource "secrets"',
            PermanentError,
            "cluster_permission_denied",
        ),
        (403, 'pods "x" is forbidden: exceeded quota: store', PermanentError, "quota_exceeded"),
        (403, 'violates PodSecurity "restricted"', PermanentError, "pod_refused"),
        (403, "ValidatingAdmissionPolicy 'x' denied request", PermanentError, "policy_refused"),
        (422, 'Deployment "x" is invalid: spec', PermanentError, "manifest_invalid"),
        (400, "what is that?", PermanentError, "cluster_refused"),
    ],
)
async def test_api_errors_are_mapped(
    cluster: KubernetesClient,
    fake: FakeApiServer,
    status: int,
    message: str,
    kind: type[StorefleetError],
    code: str,
) -> None:
    fake.refuse = lambda _request: (status, message)
    with pytest.raises(kind) as error:
        await cluster.apply(secret())
    assert getattr(error.value, "code", "") == code
    assert message in str(error.value)
    if isinstance(error.value, PermanentError | TransientError):
        assert str(error.value).startswith("Applying the Secret one failed: ")
        assert error.value.next_step


async def test_terminating_namespace_is_waited_for(
    cluster: KubernetesClient, fake: FakeApiServer
) -> None:
    fake.refuse = lambda _request: (
        403,
        "forbidden: unable to create new content because it is being terminated",
    )
    with pytest.raises(Wait):
        await cluster.apply(secret())


async def test_unreachable_server_is_reported(
    cluster: KubernetesClient, fake: FakeApiServer
) -> None:
    await cluster.check_readiness()
    fake.ready = False
    with pytest.raises(RuntimeUnavailable, match="not ready"):
        await cluster.check_readiness()
    await fake.stop()
    with pytest.raises(RuntimeUnavailable, match="does not respond"):
        await cluster.get(resource_kinds.SECRET, "one", namespace="st-x")
    fake.ready = True
    await fake.start()
    await cluster.check_readiness()


async def test_silent_server_times_out(cluster: KubernetesClient, fake: FakeApiServer) -> None:
    fake.delay = 1
    with pytest.raises(RuntimeUnavailable, match="does not respond"):
        await cluster.check_readiness(timeout_s=0.2)


async def test_rotated_credentials_are_reloaded(
    cluster: KubernetesClient, fake: FakeApiServer, tmp_path: Path
) -> None:
    def refuse(request: web.Request) -> tuple[int, str] | None:
        return (
            None if request.headers["Authorization"] == "Bearer renewed" else (401, "Unauthorized")
        )

    fake.refuse = refuse
    with pytest.raises(RuntimeUnavailable, match="credentials"):
        await cluster.check_readiness()
    config = Path(fake.kubeconfig(tmp_path))
    config.write_text(config.read_text().replace("let-me-in", "renewed"))
    await cluster.check_readiness()


@pytest.mark.parametrize("content", [None, "", "{}", "clusters: [", "[]", "current-context: x"])
async def test_unreadable_kubeconfig_is_reported(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    async with KubernetesClient(kubeconfig=str(path)).open_resources() as cluster:
        with pytest.raises(RuntimeUnavailable, match="cannot be read from"):
            await cluster.check_readiness()


async def test_missing_service_account_is_reported() -> None:
    async with KubernetesClient().open_resources() as cluster:
        with pytest.raises(RuntimeUnavailable, match="service account"):
            await cluster.check_readiness()


async def test_non_object_answer_is_rejected(
    cluster: KubernetesClient, fake: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.apply(secret(stringData={"a": "x" * 1000}))
    monkeypatch.setattr(connection, "_MAX_BODY_BYTES", 500)
    with pytest.raises(RuntimeUnavailable, match="larger than 500 bytes"):
        await cluster.get(resource_kinds.SECRET, "one", namespace="st-x")
    monkeypatch.undo()
    fake.objects[f"{SECRETS}/one"] = "x"  # type: ignore[assignment]
    monkeypatch.setattr(web, "json_response", lambda *_: web.Response(text="<html>"))
    with pytest.raises(RuntimeUnavailable):
        await cluster.get(resource_kinds.SECRET, "one", namespace="st-x")


async def test_logs_are_read(cluster: KubernetesClient, fake: FakeApiServer) -> None:
    fake.logs["web-1"] = "a\nb\nc\n"
    assert await cluster.read_log("st-x", "web-1", "web", tail_lines=2) == ["b", "c"]
    with pytest.raises(PermanentError):
        await cluster.read_log("st-x", "web-2", "web", tail_lines=2)
