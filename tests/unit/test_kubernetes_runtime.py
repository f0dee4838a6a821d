"""Steps of the kubernetes runtime on an API server in memory."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from storefleet.core.errors import (
    CancelRequested,
    Conflict,
    PermanentError,
    RuntimeUnavailable,
    TransientError,
    Wait,
)
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.runtimes.kubernetes import delete_steps, namespace_setup
from storefleet.runtimes.kubernetes.delete_steps import describe_deletion_blockers
from storefleet.runtimes.kubernetes.manifests import locate_store
from storefleet.runtimes.kubernetes.runtime import KubernetesRuntime
from storefleet.runtimes.protocol import RuntimeStep, StepContext
from tests.support.cluster.fake_api_server import FakeApiServer, run_fake_api_server
from tests.support.cluster.samples import NAMESPACE, STORE_ID, a_store, pocket_engines

HOME = f"/api/v1/namespaces/{NAMESPACE}"
RELEASES = f"{HOME}/secrets"
OURS = {"app.kubernetes.io/managed-by": "storefleet", "storefleet.dev/store": STORE_ID}


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeApiServer]:
    async with run_fake_api_server() as fake:
        yield fake


@pytest_asyncio.fixture
async def runtime(fake: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubernetesRuntime]:
    helm = tmp_path / "helm"
    helm.write_text(f'#!/bin/sh\ncat > /dev/null\necho "$@" >> {tmp_path}/runs\n')
    helm.chmod(0o755)
    settings = Settings(runtime="kubernetes", kubeconfig=fake.kubeconfig(tmp_path), helm=str(helm))
    async with KubernetesRuntime(
        settings=settings, engines=pocket_engines()
    ).open_resources() as runtime:
        yield runtime


async def run(
    steps: Sequence[RuntimeStep], name: str, *, store: Store | None = None, **line: Any
) -> str:
    step = next(step for step in steps if step.name == name)
    return (
        await step.run(StepContext(store=store or a_store(), operation_id="op_1", **line))
    ).message


async def create(runtime: KubernetesRuntime, name: str, **line: Any) -> str:
    return await run(runtime.create_steps(a_store()), name, **line)


async def delete(runtime: KubernetesRuntime, name: str, **line: Any) -> str:
    return await run(runtime.delete_steps(a_store()), name, **line)


async def put_namespace(fake: FakeApiServer, **fields: Any) -> None:
    labels = fields.pop("labels", OURS)
    await fake.put(HOME, {"metadata": {"labels": labels, **fields}, "status": {}})


async def test_namespace_setup_creates_objects(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    assert NAMESPACE in await create(runtime, "namespace")
    made = [path for method, path in fake.asked if method in ("PATCH", "POST")]
    names = [path.partition("?")[0].rpartition("/")[2] for path in made]
    assert names[:4] == [
        NAMESPACE,
        "storefleet-operator",
        "storefleet-gateway",
        "storefleet-reaper",
    ]
    assert set(names[4:]) == {
        *("default-deny", "allow-dns", "web-to-database", "database-from-web", "web-ingress"),
        *("store", "jobs", "objects", "secrets"),
    }
    assert {path.rpartition("/")[2] for path in fake.objects if "/secrets/" in path} == {
        "store-admin",
        "store-secrets",
        "store-mail",
    }


async def test_generated_secrets_are_kept(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    await create(runtime, "namespace")
    before = {path: fake.objects[path]["data"] for path in fake.objects if "/secrets/" in path}
    await create(runtime, "namespace")
    assert {
        path: fake.objects[path]["data"] for path in fake.objects if "/secrets/" in path
    } == before
    del fake.objects[f"{RELEASES}/store-secrets"]["data"]["database-password"]
    fake.objects[f"{RELEASES}/store-secrets"]["data"]["older"] = "b2xk"
    await create(runtime, "namespace")
    completed = fake.objects[f"{RELEASES}/store-secrets"]["data"]
    assert completed.keys() == {"database-password", "mail-key", "older"}
    assert completed["older"] == "b2xk"


async def test_unchanged_namespace_is_not_written(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    await create(runtime, "namespace")
    uid = fake.objects[HOME]["metadata"]["uid"]
    fake.asked.clear()
    await create(runtime, "namespace")
    assert not [
        path for method, path in fake.asked if method != "GET" and path.startswith(f"{HOME}?")
    ]
    assert fake.objects[HOME]["metadata"]["uid"] == uid


@pytest.mark.parametrize(
    "labels",
    [{}, {**OURS, "storefleet.dev/store": "sto_another"}, {"storefleet.dev/store": STORE_ID}],
)
async def test_foreign_namespace_is_not_changed(
    runtime: KubernetesRuntime, fake: FakeApiServer, labels: dict[str, str]
) -> None:
    await put_namespace(fake, labels=labels)
    for act in (create, delete):
        with pytest.raises(PermanentError) as error:
            await act(runtime, "namespace")
        assert error.value.code == "namespace_foreign"
    assert [method for method, _ in fake.asked] == ["GET", "GET"]


async def test_terminating_namespace_is_waited_for(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    await put_namespace(fake, deletionTimestamp="2026-11-25T00:00:00Z")
    with pytest.raises(Wait, match="still terminating"):
        await create(runtime, "namespace")


async def test_delayed_role_binding_is_waited_for(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    refusals = iter([True] * 3)

    def refuse(request: web.Request) -> tuple[int, str] | None:
        if "networkpolicies" in request.path and next(refusals, False):
            return (
                403,
                'networkpolicies is forbidden: User "p" cannot patch resource "networkpolicies"',
            )
        return None

    fake.refuse = refuse
    await create(runtime, "namespace")


async def test_permanent_forbidden_is_reported(
    runtime: KubernetesRuntime, fake: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace_setup, "_ROLE_BINDING_TIMEOUT_S", 0.3)
    fake.refuse = lambda r: (
        (403, 'User "p" cannot patch resource "x"') if "networkpolicies" in r.path else None
    )
    with pytest.raises(PermanentError) as error:
        await create(runtime, "namespace")
    assert error.value.code == "cluster_permission_denied"


async def test_quota_usage_is_awaited_before_release(
    runtime: KubernetesRuntime, fake: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(runtime, "namespace")
    monkeypatch.setattr(namespace_setup, "_QUOTA_STATUS_TIMEOUT_S", 0.3)
    quota = f"{HOME}/resourcequotas/store"
    counted = fake.objects[quota].pop("status")
    runtime_ground = runtime._create_steps._namespace_setup
    work, place = (
        StepContext(store=a_store(), operation_id="op_1"),
        locate_store(a_store(), runtime._settings),
    )
    with pytest.raises(Wait, match="store"):
        await runtime_ground._wait_for_quota_status(work, place)
    waiting = asyncio.create_task(runtime_ground._wait_for_quota_status(work, place))
    await asyncio.sleep(0.1)
    fake.objects[quota]["status"] = counted
    await waiting


async def test_lost_lease_changes_nothing(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    async def lost() -> None:
        raise CancelRequested

    for act, step in ((create, "namespace"), (create, "release"), (delete, "namespace")):
        await put_namespace(fake)
        with pytest.raises(CancelRequested):
            await act(runtime, step, check_ownership=lost)
    assert {method for method, _ in fake.asked} == {"GET"}


async def put_record(fake: FakeApiServer, revision: int, status: str, **labels: str) -> None:
    known = {"owner": "helm", "name": "store", "version": str(revision), "status": status, **labels}
    await fake.put(
        f"{RELEASES}/sh.helm.release.v1.store.v{revision}", {"metadata": {"labels": known}}
    )


def runs(tmp_path: Path) -> list[str]:
    file = tmp_path / "runs"
    return file.read_text().splitlines() if file.exists() else []


async def test_release_is_installed(
    runtime: KubernetesRuntime, fake: FakeApiServer, tmp_path: Path
) -> None:
    await create(runtime, "release")
    (words,) = runs(tmp_path)
    assert f"--namespace {NAMESPACE}" in words
    content = words.partition("storefleet.dev/content=")[2][:32]
    await put_record(
        fake,
        1,
        "deployed",
        **{"storefleet.dev/content": content, "storefleet.dev/operation": "op_1"},
    )
    assert "already installed" in await create(runtime, "release")
    assert len(runs(tmp_path)) == 1
    await put_record(
        fake,
        1,
        "deployed",
        **{"storefleet.dev/content": content, "storefleet.dev/operation": "op_0"},
    )
    await create(runtime, "release")
    assert len(runs(tmp_path)) == 2, "a retry installs again, which repairs what was changed since"


@pytest.mark.parametrize(
    "status", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"]
)
async def test_interrupted_release_is_recovered(
    runtime: KubernetesRuntime, fake: FakeApiServer, tmp_path: Path, status: str
) -> None:
    await put_record(fake, 1, "deployed")
    await put_record(fake, 2, status)
    said: list[str] = []

    async def report_progress(message: str) -> None:
        said.append(message)

    await create(runtime, "release", report_progress=report_progress)
    assert [path.rpartition(".")[2] for path in fake.objects if "sh.helm" in path] == ["v1"]
    assert status in said[0]
    assert len(runs(tmp_path)) == 1


async def test_retry_deletes_stuck_resources(
    runtime: KubernetesRuntime, fake: FakeApiServer, tmp_path: Path
) -> None:
    await put_record(fake, 1, "deployed")
    labels = {**OURS, "app.kubernetes.io/component": "setup"}
    job, pod = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/setup-1", f"{HOME}/pods/web-1"
    stateful = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/database"
    failed = {
        "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    }
    await fake.put(job, {"metadata": {"labels": labels}, "spec": {}, "status": failed})
    waiting = {
        "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    }
    await fake.put(
        pod,
        {
            "metadata": {"labels": {**labels, "app.kubernetes.io/component": "web"}},
            "status": waiting,
        },
    )
    await fake.put(
        stateful, {"metadata": {"labels": labels, "generation": 1}, "spec": {"replicas": 1}}
    )
    await create(runtime, "release")
    assert job not in fake.objects
    assert pod not in fake.objects
    assert fake.objects[stateful]["metadata"]["annotations"] == {
        "storefleet.dev/retried-by": "op_1"
    }
    assert len(runs(tmp_path)) == 1


async def test_engine_without_kubernetes_is_rejected(runtime: KubernetesRuntime) -> None:
    for change in ({"engine": "other"}, {"engine_version": "0.1"}):
        store = a_store().model_copy(update=change)
        with pytest.raises(PermanentError) as error:
            await run(runtime.create_steps(store), "namespace", store=store)
        assert error.value.code == "engine_unavailable"


async def test_chart_without_service_is_rejected(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    for spec in (None, {"clusterIP": "None"}):
        if spec:
            await fake.put(f"{HOME}/services/web", {"spec": spec})
        with pytest.raises(PermanentError, match="no Service “web”"):
            await create(runtime, "verify")


async def test_delete_without_namespace_succeeds(runtime: KubernetesRuntime) -> None:
    for step in runtime.delete_steps(a_store()):
        await delete(runtime, step.name)


async def test_namespace_is_deleted_by_uid(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    await put_namespace(fake)
    await fake.put(f"{HOME}/pods/web-1", {"metadata": {"labels": OURS}})
    await delete(runtime, "namespace")
    assert fake.objects == {}
    deletes = [path for method, path in fake.asked if method == "DELETE"]
    assert deletes[0] == HOME
    assert {path.rpartition("/")[2] for path in deletes[1:]} == {
        *("deployments", "statefulsets", "jobs", "pods", "persistentvolumeclaims")
    }


async def test_delete_works_without_pod_permission(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    await put_namespace(fake)
    fake.refuse = lambda r: (
        (403, "cannot delete resource") if r.method == "DELETE" and r.path != HOME else None
    )
    await delete(runtime, "namespace")
    assert HOME not in fake.objects


async def test_terminating_namespace_is_not_deleted_again(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    await put_namespace(fake, deletionTimestamp="2026-11-25T00:00:00Z")
    await delete(runtime, "namespace")
    assert ("DELETE", HOME) not in fake.asked


async def test_blocking_finalizer_is_reported(
    runtime: KubernetesRuntime, fake: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_namespace(fake, deletionTimestamp="2026-11-25T00:00:00Z")
    condition = {
        "type": "NamespaceFinalizersRemaining",
        "status": "True",
        "message": "x in 1 resource instances",
    }
    fake.objects[HOME]["status"] = {"conditions": [condition, {"type": "Other", "status": "True"}]}
    said: list[str] = []

    async def report_progress(message: str) -> None:
        said.append(message)
        if len(said) == 3:
            await fake.take(HOME)

    await delete(runtime, "wait", report_progress=report_progress)
    assert (
        said[0]
        == "Waiting for the deletion of the namespace. NamespaceFinalizersRemaining: x in 1 "
        "resource instances"
    )
    assert not [method for method, _ in fake.asked if method not in ("GET", "DELETE")], (
        "nothing is forced"
    )
    await put_namespace(fake, deletionTimestamp="2026-11-25T00:00:00Z")
    monkeypatch.setattr(delete_steps, "_NAMESPACE_TIMEOUT_S", 0.1)
    with pytest.raises(TransientError, match="The cluster reports no cause") as error:
        await delete(runtime, "wait")
    assert error.value.code == "namespace_stuck"
    await put_namespace(fake)
    fake.objects[HOME]["metadata"].pop("deletionTimestamp", None)
    with pytest.raises(TransientError) as back:
        await delete(runtime, "wait")
    assert back.value.code == "namespace_recreated"
    assert describe_deletion_blockers({"metadata": {}}) == ""


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        (
            "/api/v1/persistentvolumes/pv-1",
            {"spec": {"claimRef": {"namespace": NAMESPACE}}},
            "PersistentVolume pv-1",
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/evil",
            {"metadata": {"labels": {"storefleet.dev/store": STORE_ID}}},
            "ClusterRole evil",
        ),
        (HOME, {"metadata": {"labels": {}}}, f"Namespace {NAMESPACE}"),
        (
            "/api/v1/namespaces/other",
            {"metadata": {"labels": {"storefleet.dev/store": STORE_ID}}},
            "Namespace other",
        ),
    ],
)
async def test_remaining_objects_are_named(
    runtime: KubernetesRuntime,
    fake: FakeApiServer,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    content: Any,
    named: str,
) -> None:
    await fake.put(
        "/api/v1/persistentvolumes/other", {"spec": {"claimRef": {"namespace": "st-other"}}}
    )
    await fake.put("/api/v1/persistentvolumes/free", {"spec": {}})
    await delete(runtime, "verify")
    await fake.put(path, content)
    monkeypatch.setattr(delete_steps, "_LEFTOVERS_TIMEOUT_S", 0.1)
    with pytest.raises(TransientError, match=named) as error:
        await delete(runtime, "verify")
    assert error.value.code == "leftovers"


async def test_admin_credentials_are_read(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    store = a_store()
    assert await runtime.read_credentials(store) is None
    ready = store.copy_with(url="http://acme.localhost/", admin_url="http://acme.localhost/admin/")
    assert await runtime.read_credentials(ready) is None
    await create(runtime, "namespace")
    found = await runtime.read_credentials(ready)
    assert found is not None
    assert (found.admin_url, found.username) == (
        "http://acme.localhost/admin/",
        "admin@acme.localhost",
    )
    assert len(found.password) >= 20
    assert found.password not in repr(found)
    fake.refuse = lambda _: (403, "cannot get resource")
    with pytest.raises(RuntimeUnavailable):
        await runtime.read_credentials(ready)


async def test_mail_outbox_is_found_with_key_alone(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    with pytest.raises(Conflict, match="is provisioning and has no mails"):
        await runtime.find_mail_outbox(a_store())
    ready = a_store().copy_with(admin_url="http://acme.localhost/admin/", state="ready")
    with pytest.raises(Conflict, match="Its next upgrade or rollback adds it"):
        await runtime.find_mail_outbox(ready)
    await create(runtime, "namespace")
    fake.asked.clear()
    found = await runtime.find_mail_outbox(ready)
    assert fake.asked == [("GET", f"{RELEASES}/store-mail")]
    assert (found.url, found.host, found.scheme) == (
        f"http://web.{NAMESPACE}.svc/storefleet/mail",
        "acme.localhost",
        "http",
    )
    stored = fake.objects[f"{RELEASES}/store-secrets"]["data"]["mail-key"]
    assert base64.b64decode(stored).decode() == found.key
    assert len(found.key) >= 40
    assert found.key not in repr(found)
    assert fake.objects[f"{RELEASES}/store-mail"]["data"] == {"mail-key": stored}
    fake.refuse = lambda _: (403, "cannot get resource")
    with pytest.raises(RuntimeUnavailable, match="denies"):
        await runtime.find_mail_outbox(ready)


async def test_mail_key_copy_follows_generated_secret(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    await create(runtime, "namespace")
    fake.objects[f"{RELEASES}/store-secrets"]["data"]["mail-key"] = "b3RoZXI="
    await create(runtime, "namespace")
    assert fake.objects[f"{RELEASES}/store-mail"]["data"] == {"mail-key": "b3RoZXI="}


async def test_pod_logs_are_read(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    assert await runtime.read_logs(a_store(), tail=10) == []
    for component in ("database", "web", "setup"):
        labels = {**OURS, "app.kubernetes.io/component": component}
        content = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": component}]}}
        await fake.put(f"{HOME}/pods/{component}-1", content)
    fake.logs = {"web-1": "w1\nw2\n", "database-1": "d1\nd2\n"}
    assert await runtime.read_logs(a_store(), tail=10) == ["d1", "d2", "w1", "w2"]
    assert await runtime.read_logs(a_store(), tail=3) == ["d2", "w1", "w2"]
    assert await runtime.read_logs(a_store(), tail=1) == ["w2"]
    fake.refuse = lambda _: (403, "cannot list resource")
    assert await runtime.read_logs(a_store(), tail=10) == []


async def test_log_tail_hides_secrets(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    await create(runtime, "namespace")
    password = base64.b64decode(
        fake.objects[f"{RELEASES}/store-admin"]["data"]["password"]
    ).decode()
    fake.logs["web-1!"] = (
        f"connecting to postgresql://shop:pa55@db\nadmin is {password}\nAPI_KEY='k' token: t1\n\n"
    )
    words = await runtime._pod_logs.read_log_tail(NAMESPACE, "web-1", "web")
    assert words == (
        "connecting to postgresql://shop:(hidden)@db | admin is (hidden) | API_KEY='(hidden)' "
        "token: (hidden)"
    )
    assert await runtime._pod_logs.read_log_tail(NAMESPACE, "web-2", "web") == ""
    fake.logs["web-3"] = "now\n"
    assert await runtime._pod_logs.read_log_tail(NAMESPACE, "web-3", "web") == "now"


async def test_successful_check_is_cached(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    await asyncio.gather(*(runtime.check_available() for _ in range(10)))
    assert fake.asked == [("GET", "/readyz")]
    fake.ready = False
    await runtime.check_available()
    runtime._checked_at = -10
    for _ in range(2):
        with pytest.raises(RuntimeUnavailable):
            await runtime.check_available()
