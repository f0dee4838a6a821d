"""The supervisor restarts children, stops them in order and records them before they run."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storefleet.node.processes import sandbox
from storefleet.node.processes import supervisor as supervisor_module
from storefleet.node.processes.launcher import ChildProcess, run_to_completion
from storefleet.node.processes.process_records import find_process, read_records
from storefleet.node.processes.supervisor import Supervisor, trim_logs


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    (tmp_path / "pids").mkdir()
    supervisor = Supervisor(records_dir=tmp_path / "pids")
    yield supervisor
    await supervisor.stop_all()


def make_child(tmp_path: Path, *argv: str, name: str = "child", **more: object) -> ChildProcess:
    return ChildProcess(
        name=name, argv=argv, cwd=tmp_path, log_file=tmp_path / f"{name}.log", **more
    )  # type: ignore[arg-type]


def make_python_argv(code: str) -> tuple[str, str, str]:
    return sys.executable, "-c", code


async def wait_until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_dead_child_is_restarted(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(
        make_child(
            tmp_path, *make_python_argv("import time; print('up', flush=True); time.sleep(60)")
        )
    )
    await wait_until(
        lambda: (tmp_path / "child.log").exists() and (tmp_path / "child.log").read_text() == "up\n"
    )
    status = supervisor.get_status("child")
    assert status is not None
    first_pid = status.pid
    assert first_pid is not None
    os.kill(first_pid, signal.SIGKILL)
    await wait_until(lambda: (tmp_path / "child.log").read_text() == "up\nup\n")
    assert status.restarts == 1
    assert status.pid != first_pid
    assert [record.pid for record in read_records(tmp_path / "pids")] == [status.pid]
    await supervisor.stop("child")
    assert supervisor.get_status("child") is None
    assert read_records(tmp_path / "pids") == []


async def test_restarts_are_delayed_with_backoff(supervisor: Supervisor, tmp_path: Path) -> None:
    started_s = time.monotonic()
    supervisor.start(make_child(tmp_path, "/bin/false"))
    await wait_until(lambda: supervisor.get_status("child").restarts >= 4)  # type: ignore[union-attr]
    assert time.monotonic() - started_s > 0.69  # pauses of 0.1, 0.2 and 0.4 s; more under load
    status = supervisor.get_status("child")
    assert status is not None
    assert status.message == "ended with exit code 1"


async def test_missing_program_is_reported_in_status(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(make_child(tmp_path, "/no/such/program"))
    await wait_until(lambda: supervisor.get_status("child").restarts > 0)  # type: ignore[union-attr]
    status = supervisor.get_status("child")
    assert status is not None
    assert "No such file" in status.message


async def test_child_that_ignores_sigterm_is_killed_with_its_descendants(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    supervisor.start(
        make_child(tmp_path, *make_python_argv(code), stop_signals=((signal.SIGTERM, 0.3),))
    )
    await wait_until(
        lambda: (
            (tmp_path / "child.log").exists()
            and (tmp_path / "child.log").read_text().endswith("\n")
        )
    )
    grandchild = find_process(int((tmp_path / "child.log").read_text()))
    assert grandchild is not None
    await supervisor.stop("child")
    await wait_until(lambda: not grandchild.is_alive)


async def test_children_of_higher_rank_stop_first(tmp_path: Path) -> None:
    ended: list[str] = []

    def record_end(name: str) -> None:
        status = supervisor.get_status(name)
        if status is not None and status.state == "stopped":
            ended.append(name)

    (tmp_path / "pids").mkdir()
    supervisor = Supervisor(records_dir=tmp_path / "pids", on_status_change=record_end)
    for name, rank in (("base", 0), ("middle", 1), ("top", 2)):
        code = (
            "import signal, sys, time; print('up', flush=True);"
            "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.1), sys.exit()));"
            "time.sleep(60)"
        )
        supervisor.start(make_child(tmp_path, *make_python_argv(code), name=name, rank=rank))
    logs = [tmp_path / f"{name}.log" for name in ("base", "middle", "top")]
    await wait_until(lambda: all(log.exists() and log.read_text() for log in logs))
    await supervisor.stop_all()
    assert ended == ["top", "middle", "base"]


async def test_stop_during_backoff_is_immediate(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_S", 60.0)
    supervisor.start(make_child(tmp_path, "/bin/false"))
    await wait_until(lambda: supervisor.get_status("child").restarts == 1)  # type: ignore[union-attr]
    async with asyncio.timeout(30):
        await supervisor.stop("child")


async def test_child_gets_minimal_environment_and_no_descriptors(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = (
        "import os; print(sorted(os.environ), sorted(os.listdir('/proc/self/fd'))[:6],"
        " os.getsid(0) == os.getpid()); print(oct(os.umask(0)))"
    )
    assert (
        await run_to_completion(
            make_child(tmp_path, *make_python_argv(code)),
            records_dir=tmp_path / "pids",
            timeout_s=10,
        )
        == 0
    )
    environment, mask = (tmp_path / "child.log").read_text().splitlines()
    assert environment == "['LANG', 'PATH', 'STOREFLEET_CHILD'] ['0', '1', '2', '3'] True"
    assert mask == "0o77"


async def test_start_and_stop_leak_no_descriptor(supervisor: Supervisor, tmp_path: Path) -> None:
    async def round_trip() -> int:
        supervisor.start(make_child(tmp_path, "/bin/sleep", "60"))
        await wait_until(lambda: supervisor.get_status("child").state == "running")  # type: ignore[union-attr]
        await supervisor.stop("child")
        return len(list(Path("/proc/self/fd").iterdir()))

    before = await round_trip()
    for _ in range(5):
        after = await round_trip()
    assert after == before


async def test_program_is_killed_after_timeout(tmp_path: Path, supervisor: Supervisor) -> None:
    with pytest.raises(TimeoutError):
        await run_to_completion(
            make_child(tmp_path, "/bin/sleep", "60"), records_dir=tmp_path / "pids", timeout_s=0.3
        )
    assert read_records(tmp_path / "pids") == []


def test_program_does_not_run_without_start_byte(tmp_path: Path) -> None:
    """A supervisor that dies before it records a child closes the pipe without the start byte."""
    start_reader, start_writer = os.pipe()
    argv = sandbox.make_command(
        ["/usr/bin/touch", str(tmp_path / "ran")], cwd="/", start_fd=start_reader
    )
    process = subprocess.Popen(argv, pass_fds=(start_reader,))
    os.close(start_reader)
    time.sleep(0.1)
    assert process.poll() is None
    os.close(start_writer)
    assert process.wait(30) == sandbox.SANDBOX_EXIT_CODE
    assert not (tmp_path / "ran").exists()


def test_large_log_is_moved_while_its_writer_continues(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    writer = log.open("a")
    writer.write("x" * 2000)
    writer.flush()
    trim_logs([log, tmp_path / "missing.log"], limit_bytes=1000)
    writer.write("after")
    writer.close()
    assert log.read_text() == "after"
    assert len((tmp_path / "a.log.1").read_text()) == 2000
