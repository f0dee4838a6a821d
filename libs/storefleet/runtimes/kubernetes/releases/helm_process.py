"""Runs of the Helm program: in a process group of their own, values on standard input, ended for certain."""

import asyncio
import json
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from storefleet.core.errors import PermanentError, StorefleetError, TransientError, Wait
from storefleet.observability import logs
from storefleet.runtimes.kubernetes.api import api_errors

log = logs.get_logger(__name__)

RELEASE_NAME = "store"
_MAX_REVISIONS = 3
_TERMINATION_GRACE_S = 3.0  # shorter than what a service that is stopped gives its workers
_MAX_OUTPUT_BYTES = 64 << 10
_INHERITED_VARIABLES = ("PATH", "TMPDIR", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")


class HelmClient:
    """The program, with homes that belong to this process alone; so many runs at once, as each takes 80 MB."""

    def __init__(
        self, *, executable: str, timeout_s: float, max_runs: int = 5, kubeconfig: str = ""
    ) -> None:
        self._executable = executable
        self._timeout_s = timeout_s
        self._kubeconfig = kubeconfig
        self._run_slots = asyncio.Semaphore(max_runs)
        self._home_directory: tempfile.TemporaryDirectory[str] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["HelmClient"]:
        try:
            yield self
        finally:
            if self._home_directory is not None:
                await asyncio.to_thread(self._home_directory.cleanup)

    async def install_release(
        self, *, chart: Path, namespace: str, values: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        """Install or upgrade the one release of the namespace; it does not wait for what it makes."""
        words = ",".join(f"{name}={value}" for name, value in labels.items())
        async with self._run_slots:
            await self._run_helm(
                *(
                    "upgrade",
                    "--install",
                    RELEASE_NAME,
                    str(chart),
                    "--namespace",
                    namespace,
                    "--values",
                    "-",
                ),
                *(
                    "--history-max",
                    str(_MAX_REVISIONS),
                    "--labels",
                    words,
                    "--timeout",
                    f"{self._timeout_s:.0f}s",
                ),
                "--force-conflicts",  # what was changed by others than Helm, ourselves included, gets its word back
                stdin=json.dumps(values).encode(),
            )

    async def _run_helm(self, *arguments: str, stdin: bytes) -> None:
        process = await self._start_process(arguments)
        try:
            async with asyncio.timeout(self._timeout_s):
                said = await _exchange_streams(process, stdin)
                status = await process.wait()
        except TimeoutError:
            raise TransientError(
                "release_timeout",
                f"Helm did not end within {self._timeout_s:.0f} s.",
                next_step="See whether the cluster is slow, or raise STOREFLEET_HELM_TIMEOUT; it is tried again.",
            ) from None
        finally:
            await _terminate_process(process)
        if status != 0:
            log.warning("helm_failed", status=status, said=said[-2000:])
            raise map_helm_error(status, said)

    async def _start_process(self, arguments: Sequence[str]) -> Process:
        if self._home_directory is None:
            self._home_directory = tempfile.TemporaryDirectory(
                prefix="storefleet-helm-", ignore_cleanup_errors=True
            )
        try:
            return await asyncio.create_subprocess_exec(
                self._executable,
                *arguments,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=PIPE,
                env=self._make_environment(Path(self._home_directory.name)),
                start_new_session=True,
            )
        except OSError as error:
            raise PermanentError(
                "helm_missing",
                f"The program of Helm, {self._executable}, cannot be run: {error.strerror}.",
                next_step="Install Helm 4, or name it by STOREFLEET_HELM; then retry.",
            ) from None

    def _make_environment(self, home: Path) -> dict[str, str]:
        """Nothing of ours gets in by accident: no secret, no plugin, no other cluster."""
        kept = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
        homes = {
            f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")
        }
        cluster = {"KUBECONFIG": self._kubeconfig} if self._kubeconfig else {}
        return {**kept, **homes, **cluster, "HOME": str(home)}


async def _exchange_streams(process: Process, stdin: bytes) -> str:
    """Hand over the values, and hear what it says to the end; only the first part of that is kept."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stderr is not None  # noqa: S101
    with suppress(BrokenPipeError, ConnectionResetError):  # it ended without reading: it says why
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    heard = bytearray()
    while part := await process.stderr.read(8192):
        heard += part[: _MAX_OUTPUT_BYTES - len(heard)]
    return heard.decode(errors="replace")


async def _terminate_process(process: Process) -> None:
    """Nothing of the group goes on, whatever ended our wait; SIGTERM lets Helm note that the release failed."""
    if process.returncode is not None:
        return
    try:
        _signal_process_group(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_TERMINATION_GRACE_S):
                await process.wait()
    finally:
        _signal_process_group(process, signal.SIGKILL)
    await process.wait()


def _signal_process_group(process: Process, signal_number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal_number)


def map_helm_error(status: int, output: str) -> StorefleetError:
    """Our error for a run of Helm that failed."""
    text = " ".join(
        line for line in output.splitlines() if not line.startswith(("WARNING", "level=", "time="))
    )
    text = text.removeprefix("Error: ").strip() or f"it ended with status {status}"
    if status < 0:
        return TransientError(
            "release_interrupted",
            f"Helm was ended by signal {-status}.",
            next_step="It is tried again by itself.",
        )
    if "another operation (install/upgrade/rollback) is in progress" in text:
        return Wait("Another run of Helm works on this release.", delay=1)
    if known := api_errors.map_unavailable_message(text) or api_errors.map_rejection_message(
        text, subject="Helm"
    ):
        return known
    if "not found" in text and "namespaces" in text:
        return PermanentError(
            "namespace_missing",
            f"Helm: {text[-500:]}",
            next_step="Retry: its namespace is made anew.",
        )
    if _is_chart_error(text):
        return PermanentError(
            "chart_invalid",
            f"Helm: {text[-500:]}",
            next_step="Correct the engine's chart or its values, then retry.",
        )
    return TransientError(
        "release_failed", f"Helm: {text[-500:]}", next_step="See what it names; it is tried again."
    )


def _is_chart_error(text: str) -> bool:
    marks = (
        "don't meet the specifications of the schema",
        "Chart.yaml",
        "parse error",
        "execution error",
        "template:",
    )
    return any(
        mark in text
        for mark in (*marks, "YAML parse", 'path "', "chart requires kubeVersion", "no such file")
    )
