"""Process records, and the termination of processes that a killed run left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storefleet.node.processes.process_records import (
    TOKEN_VARIABLE,
    ProcessIdentity,
    ProcessRecord,
    find_process,
    list_session_members,
    read_boot_id,
    read_records,
    send_signal,
    terminate_leftovers,
    write_record,
)


def start(*argv: str, mark: str = "t") -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env={**os.environ, TOKEN_VARIABLE: mark}, start_new_session=True)


def record(
    process: subprocess.Popen[bytes], *, name: str = "child", mark: str = "t", **changed: object
) -> ProcessRecord:
    identity = find_process(process.pid)
    assert identity is not None
    content = {
        "name": name,
        "pid": identity.pid,
        "started": identity.start_ticks,
        "boot": read_boot_id(),
        "token": mark,
        "rank": 1,
        "stop_signals": [(signal.SIGTERM, 0.5)],
        **changed,
    }
    return ProcessRecord(**content)  # type: ignore[arg-type]


def test_process_is_distinguished_from_later_one_with_same_id() -> None:
    process = start("sleep", "60")
    identity = find_process(process.pid)
    assert identity is not None
    assert identity.is_alive
    assert not ProcessIdentity(process.pid, identity.start_ticks + 1).is_alive
    send_signal(ProcessIdentity(process.pid, identity.start_ticks + 1), signal.SIGKILL)
    assert process.poll() is None
    send_signal(identity, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL
    assert not identity.is_alive


def test_zombie_is_not_found() -> None:
    process = start("true")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert find_process(process.pid) is None
    process.wait()


async def test_leftovers_are_terminated_and_their_records_deleted(tmp_path: Path) -> None:
    process = start("sleep", "60")
    write_record(tmp_path, record(process))
    reaper = asyncio.create_task(asyncio.to_thread(process.wait))
    assert await terminate_leftovers(tmp_path) == ["child"]
    assert await reaper == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


async def test_leftover_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    write_record(tmp_path, record(process))
    reaper = asyncio.create_task(asyncio.to_thread(process.wait))
    assert await terminate_leftovers(tmp_path) == ["child"]
    assert await reaper == -signal.SIGKILL
    process.stdout.close()


async def test_processes_of_dead_session_leader_are_killed(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); input()"
    leader = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, TOKEN_VARIABLE: "mine"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert leader.stdout is not None
    orphan = find_process(int(leader.stdout.readline()))
    assert orphan is not None
    write_record(tmp_path, record(leader, mark="mine"))
    leader.kill()
    leader.wait()
    assert list_session_members(leader.pid, "another") == []
    assert list_session_members(leader.pid, "mine") == [orphan]
    assert await terminate_leftovers(tmp_path) == ["child"]
    assert not orphan.is_alive
    leader.stdout.close()
    assert leader.stdin is not None
    leader.stdin.close()


async def test_other_process_with_recorded_id_is_left_alone(tmp_path: Path) -> None:
    process = start("sleep", "60", mark="somebody-else")
    write_record(tmp_path, record(process, started=1))
    assert await terminate_leftovers(tmp_path) == []
    assert process.poll() is None
    process.kill()
    process.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}'])
def test_unreadable_record_is_skipped(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert read_records(tmp_path) == []


def test_record_of_another_boot_is_ignored(tmp_path: Path) -> None:
    process = start("sleep", "60")
    write_record(tmp_path, record(process, boot="before"))
    assert json.loads((tmp_path / "child.json").read_text())["pid"] == process.pid
    assert read_records(tmp_path) == []
    process.kill()
    process.wait()
