"""Run the Helm program: in its own process group, with values on standard input and a hard timeout.

`installer` decides what to install; this module only runs Helm and maps its errors.
"""

import asyncio
import os
import re
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from storefleet.core.errors import PermanentError, StorefleetError, TransientError, Wait
from storefleet.core.yaml_encoding import encode_for_yaml
from storefleet.observability import logs
from storefleet.runtimes.kubernetes.api import api_errors

log = logs.get_logger(__name__)

RELEASE_NAME = "store"
_MAX_REVISIONS = 3
#: Shorter than the shutdown time that a service gives its workers.
_TERMINATION_GRACE_S = 3.0
_MAX_OUTPUT_BYTES = 64 << 10
_INHERITED_VARIABLES = ("PATH", "TMPDIR", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
_MAX_DETAIL_LENGTH = 500
_PREFIX_PATTERN = re.compile(r"(?:Error: )?(?:(?:UPGRADE|INSTALLATION) FAILED: )?")
#: How Helm 4 begins its messages about values, schema, templates and the chart itself, as
#: `tests/fixtures/helm_messages.yaml` records them. They are recognized by their beginning, since
#: the rest quotes the chart and the store's parameters, which may contain any text.
_CHART_ERROR_PATTERN = re.compile(
    r"failed to parse -:|values don't meet the specifications of the schema"
    r"|parse error at |execution error at |YAML parse error on |error parsing "
    r"|template: |\S+:\d+:\d+\s+executing "
    r"|path \S+ not found|unable to detect chart at |cannot load |validation: chart\.metadata"
    r"|unsupported chart version|chart requires kubeVersion|library charts are not installable"
    r"|an error occurred while checking for chart dependencies|non-absolute URLs should be"
)


class HelmClient:
    """Runs Helm with home directories of its own, a limited number of processes at a time."""

    def __init__(
        self, *, executable: str, timeout_s: float, max_runs: int = 5, kubeconfig: str = ""
    ) -> None:
        """Configure the client.

        Args:
            executable: Name or path of the Helm program.
            timeout_s: Seconds after which a run is terminated.
            max_runs: Processes at a time; each uses 80 MB.
            kubeconfig: Path of a kubeconfig file; empty for the pod's service account.
        """
        self._executable = executable
        self._timeout_s = timeout_s
        self._kubeconfig = kubeconfig
        self._run_slots = asyncio.Semaphore(max_runs)
        self._home_directory: tempfile.TemporaryDirectory[str] | None = None

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["HelmClient"]:
        """Remove the home directories at exit."""
        try:
            yield self
        finally:
            if self._home_directory is not None:
                await asyncio.to_thread(self._home_directory.cleanup)

    async def install_release(
        self, *, chart: Path, namespace: str, values: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        """Install or upgrade the release of a namespace, without waiting for its workloads.

        Args:
            chart: Folder of the chart.
            namespace: The namespace.
            values: Values of the release.
            labels: Labels of the release record.

        Raises:
            StorefleetError: See `map_helm_error`; or the run timed out, or Helm is not installed.
        """
        label_list = ",".join(f"{name}={value}" for name, value in labels.items())
        arguments = ["upgrade", "--install", RELEASE_NAME, str(chart), "--namespace", namespace]
        arguments += ["--values", "-", "--history-max", str(_MAX_REVISIONS)]
        arguments += ["--labels", label_list, "--timeout", f"{self._timeout_s:.0f}s"]
        # Fields that other managers changed, the platform's own patches included, are reset.
        arguments += ["--force-conflicts"]
        async with self._run_slots:
            await self._run_helm(*arguments, stdin=encode_for_yaml(values))

    async def _run_helm(self, *arguments: str, stdin: bytes) -> None:
        process = await self._start_process(arguments)
        try:
            async with asyncio.timeout(self._timeout_s):
                output = await _exchange_streams(process, stdin)
                status = await process.wait()
        except TimeoutError:
            raise TransientError(
                "release_timeout",
                f"Helm did not end within {self._timeout_s:.0f} s.",
                next_step="Check whether the cluster is slow, or raise STOREFLEET_HELM_TIMEOUT; the"
                " operation retries automatically.",
            ) from None
        finally:
            await _terminate_process(process)
        if status != 0:
            log.warning("helm_run_failed", status=status, output=output[-2000:])
            raise map_helm_error(status, output)

    async def _start_process(self, arguments: Sequence[str]) -> Process:
        if self._home_directory is None:
            self._home_directory = tempfile.TemporaryDirectory(
                prefix="storefleet-helm-", ignore_cleanup_errors=True
            )
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(
                self._executable,
                *arguments,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=PIPE,
                env=self._make_environment(Path(self._home_directory.name)),
                start_new_session=True,
            )
        )
        cancellation = await _wait_despite_cancellation(starting)
        try:
            process = starting.result()
        except OSError as error:
            raise cancellation or PermanentError(
                "helm_missing",
                f"The Helm program {self._executable} cannot be run: {error.strerror}.",
                next_step="Install Helm 4, or set STOREFLEET_HELM to its path; then retry.",
            ) from None
        if cancellation is not None:
            await _terminate_process(process)
            raise cancellation
        return process

    def _make_environment(self, home: Path) -> dict[str, str]:
        """Make an environment that passes on no secret, no plugin and no other cluster."""
        inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
        homes = {
            f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")
        }
        cluster = {"KUBECONFIG": self._kubeconfig} if self._kubeconfig else {}
        return {**inherited, **homes, **cluster, "HOME": str(home)}


def map_helm_error(status: int, output: str) -> StorefleetError:
    """Map a failed run of Helm to an error.

    Args:
        status: Exit status; negative for a signal.
        output: Standard error of the run.
    """
    lines = (
        line for line in output.splitlines() if not line.startswith(("WARNING", "level=", "time="))
    )
    joined = " ".join(" ".join(lines).split())
    text = _PREFIX_PATTERN.sub("", joined, count=1) or f"it ended with status {status}"
    if status < 0:
        return TransientError(
            "release_interrupted",
            f"Helm was terminated by signal {-status}.",
            next_step="Nothing: the operation retries automatically.",
        )
    detail = f"Helm failed: {_shorten(text)}"
    if _CHART_ERROR_PATTERN.match(text):
        return PermanentError(
            "chart_invalid",
            detail,
            next_step="Correct the engine's chart or its values, then retry.",
        )
    if "another operation (install/upgrade/rollback) is in progress" in text:
        return Wait("Another run of Helm is working on this release.", delay=1)
    known = api_errors.map_unavailable_message(text) or api_errors.map_rejection_message(
        text, subject="Helm failed"
    )
    if known:
        return known
    if "not found" in text and "namespaces" in text:
        return PermanentError(
            "namespace_missing",
            detail,
            next_step="Retry: the operation recreates the namespace.",
        )
    return TransientError(
        "release_failed",
        detail,
        next_step="Correct what the message names; the operation retries automatically.",
    )


def _shorten(text: str) -> str:
    """Shorten a message in its middle: the beginning names the place, the end the reason."""
    if len(text) <= _MAX_DETAIL_LENGTH:
        return text
    half = _MAX_DETAIL_LENGTH // 2
    return f"{text[: half - 3]} … {text[-half:]}"


async def _exchange_streams(process: Process, stdin: bytes) -> str:
    """Write standard input and read standard error to its end, keeping the first 64 KiB."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stderr is not None  # noqa: S101
    with suppress(
        BrokenPipeError, ConnectionResetError
    ):  # Helm ended early; its output contains the cause
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    output = bytearray()
    while part := await process.stderr.read(8192):
        output += part[: _MAX_OUTPUT_BYTES - len(output)]
    return output.decode(errors="replace")


async def _wait_despite_cancellation(
    starting: asyncio.Task[Process],
) -> asyncio.CancelledError | None:
    """Wait until a process has been started; return the cancellation that arrived meanwhile.

    A cancelled `create_subprocess_exec` sends SIGKILL to the process alone, which may already be
    running: Helm could not record the failed release, and its children would continue.
    """
    cancellation = None
    while not starting.done():
        try:
            await asyncio.wait({starting})
        except asyncio.CancelledError as error:
            cancellation = error
    return cancellation


async def _terminate_process(process: Process) -> None:
    """Terminate the whole process group if it still runs, whatever interrupted the wait.

    SIGTERM first, which lets Helm record that the release failed; SIGKILL after the grace period.
    """
    if process.returncode is not None:
        return
    # The child calls setsid before exec, and its start is awaited: the group is never our own.
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
