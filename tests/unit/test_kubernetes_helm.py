"""Helm runs: arguments, error classification, and no process after a cancel."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from storefleet.core.errors import (
    PermanentError,
    RuntimeUnavailable,
    StorefleetError,
    TransientError,
    Wait,
)
from storefleet.runtimes.kubernetes.releases import helm_process as helm_module
from storefleet.runtimes.kubernetes.releases.helm_process import HelmClient, map_helm_error
from storefleet.runtimes.kubernetes.releases.release_records import hash_release
from tests.support.documents.sources import ROOT

Script = Callable[..., HelmClient]
LABELS = {"storefleet.dev/content": "abc", "storefleet.dev/operation": "op_1"}


@pytest_asyncio.fixture
async def script(tmp_path: Path) -> AsyncIterator[Script]:
    """Replace Helm by a shell script; `$HERE` is the test's folder."""
    opened: list[HelmClient] = []

    def make(
        lines: str, *, timeout: float = 20, runs: int = 5, kubeconfig: str = "/k"
    ) -> HelmClient:
        program = tmp_path / "helm"
        program.write_text(f"#!/bin/sh\nHERE={tmp_path}\n{lines}\n")
        program.chmod(0o755)
        opened.append(
            HelmClient(
                executable=str(program), timeout_s=timeout, max_runs=runs, kubeconfig=kubeconfig
            )
        )
        return opened[-1]

    yield make
    for helm in opened:
        if helm._home_directory is not None:
            helm._home_directory.cleanup()


async def install(helm: HelmClient, **values: object) -> None:
    await helm.install_release(
        chart=Path("/charts/pocket"), namespace="st-x", values=values, labels=LABELS
    )


def alive(file: Path) -> bool:
    """Return whether the process in the pid file runs and is not a zombie."""
    try:
        stat = Path(f"/proc/{int(file.read_text())}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def appears(file: Path) -> None:
    async with asyncio.timeout(30):
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.01)


async def ends(file: Path) -> None:
    """Wait for a process that has been killed: the kernel may need a moment to end it."""
    async with asyncio.timeout(30):
        while alive(file):
            await asyncio.sleep(0.01)


async def test_helm_receives_arguments_and_values(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREFLEET_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("HELM_PLUGINS", "/evil")
    await install(
        script('echo "$@" > $HERE/words; cat > $HERE/values; env > $HERE/environment'),
        title="a\n“b”",
    )
    assert (tmp_path / "words").read_text().split() == [
        *(
            "upgrade",
            "--install",
            "store",
            "/charts/pocket",
            "--namespace",
            "st-x",
            "--values",
            "-",
        ),
        *(
            "--history-max",
            "3",
            "--labels",
            "storefleet.dev/content=abc,storefleet.dev/operation=op_1",
        ),
        *("--timeout", "20s", "--force-conflicts"),
    ]
    assert json.loads((tmp_path / "values").read_text()) == {"title": "a\n“b”"}
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert names >= {
        "PATH",
        "HOME",
        "KUBECONFIG",
        "HELM_CACHE_HOME",
        "HELM_CONFIG_HOME",
        "HELM_DATA_HOME",
    }
    assert not names & {"STOREFLEET_DATABASE_URL", "HELM_PLUGINS"}


async def test_in_cluster_helm_uses_service_account(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
    await install(script("env > $HERE/environment", kubeconfig=""))
    environment = (tmp_path / "environment").read_text()
    assert "KUBERNETES_SERVICE_HOST=10.0.0.1" in environment
    assert "KUBECONFIG" not in environment


async def test_concurrent_runs_are_limited(script: Script, tmp_path: Path) -> None:
    helm = script(
        "mkdir $HERE/$$; until [ -e $HERE/counted ] || [ $(ls -d $HERE/[0-9]* | wc -l) -ge 2 ];"
        "do sleep 0.01; done; sleep 0.1; ls -d $HERE/[0-9]* | wc -l >> $HERE/counted;"
        "rmdir $HERE/$$",
        runs=2,
    )
    await asyncio.gather(*(install(helm) for _ in range(6)))
    counted = [int(line) for line in (tmp_path / "counted").read_text().split()]
    assert len(counted) == 6
    assert max(counted) == 2


async def test_helm_folders_are_removed_with_service(script: Script, tmp_path: Path) -> None:
    helm = script("mkdir -p $HELM_CACHE_HOME && echo $HOME > $HERE/home")
    async with helm.open_resources():
        await install(helm)
        home = Path((tmp_path / "home").read_text().strip())
        assert home.is_dir()
    assert not home.exists()


async def test_large_values_and_output_are_handled(script: Script) -> None:
    await install(
        script(
            "cat > /dev/null; i=0; while [ $i -lt 20000 ]; do echo xxxxxxxxxxxxxxxx >&2; "
            "i=$((i+1)); done"
        ),
        text="x" * 500_000,
    )


async def test_helm_exit_before_reading_is_handled(script: Script) -> None:
    with pytest.raises(TransientError, match="did not like it"):
        await install(script("echo 'Error: did not like it' >&2; exit 1"), text="x" * 500_000)


async def test_cancelled_step_ends_process_group(script: Script, tmp_path: Path) -> None:
    helm = script('sh -c "echo \\$\\$ > $HERE/child; exec sleep 60" & echo $$ > $HERE/parent; wait')
    task = asyncio.create_task(install(helm))
    await appears(tmp_path / "child")
    await appears(tmp_path / "parent")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(tmp_path / "parent")
    await ends(tmp_path / "child")


async def test_cancelled_start_terminates_process_group(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helm_module, "_TERMINATION_GRACE_S", 30.0)
    helm = script(
        "trap 'echo noted > $HERE/noted; exit 1' TERM;"
        'sh -c "echo \\$\\$ > $HERE/child; exec sleep 60" & echo $$ > $HERE/parent; wait'
    )
    task = asyncio.create_task(install(helm))
    for _ in range(2):  # the process runs now, but its pipes are not connected yet
        await asyncio.sleep(0)
    for file in (tmp_path / "parent", tmp_path / "child"):
        while not file.exists() or not file.read_text():
            time.sleep(0.01)  # the event loop must not continue
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "noted").read_text() == "noted\n"
    await ends(tmp_path / "child")


async def test_sigterm_allows_helm_to_record_failure(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helm_module, "_TERMINATION_GRACE_S", 30.0)
    helm = script(
        "trap 'echo noted > $HERE/noted; exit 1' TERM; echo $$ > $HERE/parent; while :; do sleep "
        "0.05; done"
    )
    task = asyncio.create_task(install(helm))
    await appears(tmp_path / "parent")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "noted").read_text() == "noted\n"


async def test_unresponsive_helm_is_killed(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helm_module, "_TERMINATION_GRACE_S", 0.2)
    helm = script("trap '' TERM; echo $$ > $HERE/parent; while :; do sleep 0.05; done", timeout=0.5)
    began = time.monotonic()
    with pytest.raises(TransientError, match="did not end within") as error:
        await install(helm)
    assert error.value.code == "release_timeout"
    assert time.monotonic() - began < 15
    assert not alive(tmp_path / "parent")


async def test_second_cancel_leaves_no_process(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helm = script("trap '' TERM; echo $$ > $HERE/parent; while :; do sleep 0.05; done")
    task = asyncio.create_task(install(helm))
    await appears(tmp_path / "parent")
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ends(tmp_path / "parent")


async def test_killed_helm_is_retried(script: Script) -> None:
    with pytest.raises(TransientError, match="signal 9") as error:
        await install(script("kill -9 $$"))
    assert error.value.code == "release_interrupted"


@pytest.mark.parametrize("program", ["/nowhere/helm", "/", "/etc/passwd"])
async def test_missing_helm_is_reported(program: str) -> None:
    async with HelmClient(executable=program, timeout_s=5).open_resources() as helm:
        with pytest.raises(PermanentError, match=program) as error:
            await install(helm)
    assert error.value.code == "helm_missing"


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (
            "Error: kubernetes cluster unreachable: Get …: dial tcp: connect: connection refused",
            RuntimeUnavailable,
            "",
        ),
        ("Error: UPGRADE FAILED: etcdserver: request timed out", RuntimeUnavailable, ""),
        (
            "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
            Wait,
            "",
        ),
        (
            'Error: services "web" is forbidden: exceeded quota: objects',
            PermanentError,
            "quota_exceeded",
        ),
        ("Error: unable to create new content … because it is being terminated", Wait, ""),
        (
            "Error: values don't meet the specifications of the schema(s): …",
            PermanentError,
            "chart_invalid",
        ),
        (
            "Error: template: pocket/templates/web.yaml:3: function not defined",
            PermanentError,
            "chart_invalid",
        ),
        ('Error: path "/charts/pocket" not found', PermanentError, "chart_invalid"),
        (
            'Error: create: failed to create: namespaces "st-x" not found',
            PermanentError,
            "namespace_missing",
        ),
        (
            'Error: Deployment.apps "web" is invalid: spec.replicas',
            PermanentError,
            "manifest_invalid",
        ),
        (
            'Error: secrets is forbidden: User "x" cannot list resource "secrets"',
            PermanentError,
            "cluster_permission_denied",
        ),
        ("Error: something else", TransientError, "release_failed"),
        ("", TransientError, "release_failed"),
    ],
)
def test_helm_errors_are_classified(said: str, kind: type[StorefleetError], code: str) -> None:
    error = map_helm_error(1, f"WARNING: this is noise\n{said}\n")
    assert isinstance(error, kind)
    if isinstance(error, PermanentError | TransientError):
        assert error.code == code
        assert error.next_step
    assert "noise" not in str(error)


def list_recorded_messages() -> Iterator[tuple[str, type[StorefleetError], str]]:
    recorded = yaml.safe_load((ROOT / "tests/fixtures/helm_messages.yaml").read_text("utf-8"))
    for code, messages in recorded["permanent"].items():
        yield from ((message, PermanentError, code) for message in messages)
    yield from ((message, RuntimeUnavailable, "") for message in recorded["unavailable"])
    yield from ((message, Wait, "") for message in recorded["wait"])


@pytest.mark.parametrize(("message", "kind", "code"), list(list_recorded_messages()))
def test_recorded_message_of_helm_has_its_kind(
    message: str, kind: type[StorefleetError], code: str
) -> None:
    error = map_helm_error(1, message)
    assert isinstance(error, kind), error
    if isinstance(error, PermanentError):
        assert error.code == code
        assert error.next_step


def test_long_message_of_helm_keeps_place_and_reason() -> None:
    nested = 'error calling include: executing "loop" at <include "loop" .>: ' * 1000
    error = map_helm_error(1, f"Error: template: a/templates/q.yaml:1:3: {nested}nested too deeply")
    assert str(error).startswith("Helm failed: template: a/templates/q.yaml:1:3: error calling")
    assert str(error).endswith("nested too deeply")
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    "title",
    ["🛍 Shop", "👩\u200d🍳", "a\u200cb", "\x7f\x85\u2028\ufeff\ufffe", "\"\\{{ }}'#", "é\t\n"],
)
async def test_values_are_sent_as_json_without_surrogate_escapes(
    script: Script, tmp_path: Path, title: str
) -> None:
    await install(script("cat > $HERE/values"), parameters={"title": title})
    sent = (tmp_path / "values").read_bytes()
    assert json.loads(sent) == {"parameters": {"title": title}}
    assert b"\\ud83" not in sent


def test_release_hash_covers_chart_and_values(tmp_path: Path) -> None:
    charts = [tmp_path / name for name in ("a", "b", "c")]
    for chart in charts:
        (chart / "templates").mkdir(parents=True)
        (chart / "templates" / "web.yaml").write_text("kind: Service")
    (charts[2] / "templates" / "web.yaml").write_text("kind: Deployment")
    same, alike, other = (hash_release(chart, {"x": 1, "y": 2}) for chart in charts)
    assert same == alike == hash_release(charts[0], {"y": 2, "x": 1})
    assert len({same, other, hash_release(charts[0], {"x": 2})}) == 3
    assert len(same) <= 63, "a label holds no more"
