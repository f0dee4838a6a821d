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

log = logs.get(__name__)

RELEASE = "store"
_KEPT_REVISIONS = 3
_GRACE = 3.0  # shorter than what a service that is stopped gives its workers
_OUTPUT = 64 << 10
_PASSED_ON = ("PATH", "TMPDIR", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")


class Helm:
    """The program, with homes that belong to this process alone; so many runs at once, as each takes 80 MB."""

    def __init__(
        self, *, program: str, timeout: float, runs: int = 5, kubeconfig: str = ""
    ) -> None:
        self._program = program
        self._timeout = timeout
        self._kubeconfig = kubeconfig
        self._turns = asyncio.Semaphore(runs)
        self._home: tempfile.TemporaryDirectory[str] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Helm"]:
        try:
            yield self
        finally:
            if self._home is not None:
                await asyncio.to_thread(self._home.cleanup)

    async def install(
        self, *, chart: Path, namespace: str, values: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        """Install or upgrade the one release of the namespace; it does not wait for what it makes."""
        words = ",".join(f"{name}={value}" for name, value in labels.items())
        async with self._turns:
            await self._run(
                *(
                    "upgrade",
                    "--install",
                    RELEASE,
                    str(chart),
                    "--namespace",
                    namespace,
                    "--values",
                    "-",
                ),
                *(
                    "--history-max",
                    str(_KEPT_REVISIONS),
                    "--labels",
                    words,
                    "--timeout",
                    f"{self._timeout:.0f}s",
                ),
                "--force-conflicts",  # what was changed by others than Helm, ourselves included, gets its word back
                sent=json.dumps(values).encode(),
            )

    async def _run(self, *arguments: str, sent: bytes) -> None:
        process = await self._start(arguments)
        try:
            async with asyncio.timeout(self._timeout):
                said = await _converse(process, sent)
                status = await process.wait()
        except TimeoutError:
            raise TransientError(
                "release_timeout",
                f"Helm did not end within {self._timeout:.0f} s.",
                next_step="See whether the cluster is slow, or raise STOREFLEET_HELM_TIMEOUT; it is tried again.",
            ) from None
        finally:
            await _end(process)
        if status != 0:
            log.warning("helm_failed", status=status, said=said[-2000:])
            raise explained(status, said)

    async def _start(self, arguments: Sequence[str]) -> Process:
        if self._home is None:
            self._home = tempfile.TemporaryDirectory(
                prefix="storefleet-helm-", ignore_cleanup_errors=True
            )
        try:
            return await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=PIPE,
                env=self._environment(Path(self._home.name)),
                start_new_session=True,
            )
        except OSError as error:
            raise PermanentError(
                "helm_missing",
                f"The program of Helm, {self._program}, cannot be run: {error.strerror}.",
                next_step="Install Helm 4, or name it by STOREFLEET_HELM; then retry.",
            ) from None

    def _environment(self, home: Path) -> dict[str, str]:
        """Nothing of ours gets in by accident: no secret, no plugin, no other cluster."""
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        homes = {
            f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")
        }
        cluster = {"KUBECONFIG": self._kubeconfig} if self._kubeconfig else {}
        return {**kept, **homes, **cluster, "HOME": str(home)}


async def _converse(process: Process, sent: bytes) -> str:
    """Hand over the values, and hear what it says to the end; only the first part of that is kept."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stderr is not None  # noqa: S101
    with suppress(BrokenPipeError, ConnectionResetError):  # it ended without reading: it says why
        process.stdin.write(sent)
        await process.stdin.drain()
    process.stdin.close()
    heard = bytearray()
    while part := await process.stderr.read(8192):
        heard += part[: _OUTPUT - len(heard)]
    return heard.decode(errors="replace")


async def _end(process: Process) -> None:
    """Nothing of the group goes on, whatever ended our wait; SIGTERM lets Helm note that the release failed."""
    if process.returncode is not None:
        return
    try:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def explained(status: int, said: str) -> StorefleetError:
    """Our error for a run of Helm that failed."""
    text = " ".join(
        line for line in said.splitlines() if not line.startswith(("WARNING", "level=", "time="))
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
    if known := api_errors.away(text) or api_errors.said(text, what="Helm"):
        return known
    if "not found" in text and "namespaces" in text:
        return PermanentError(
            "namespace_missing",
            f"Helm: {text[-500:]}",
            next_step="Retry: its namespace is made anew.",
        )
    if _of_chart(text):
        return PermanentError(
            "chart_invalid",
            f"Helm: {text[-500:]}",
            next_step="Correct the engine's chart or its values, then retry.",
        )
    return TransientError(
        "release_failed", f"Helm: {text[-500:]}", next_step="See what it names; it is tried again."
    )


def _of_chart(text: str) -> bool:
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
