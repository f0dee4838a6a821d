"""The system user that runs PostgreSQL, NATS and the stores when the platform is started by root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass

from storefleet.node.node_error import NodeError

ACCOUNT_NAME = "storefleet"


@dataclass(frozen=True)
class SystemAccount:
    """A user to run a process as."""

    name: str
    uid: int
    gid: int


def ensure_account(name: str = ACCOUNT_NAME) -> SystemAccount | None:
    """The system user for a node run by root, made when it is missing; None for everybody else."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        _create_account(name)
        entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise NodeError(
            f"The user {name} has the number of root; give it another one, or run as a normal user."
        )
    return SystemAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_account(name: str) -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise NodeError(
            f"PostgreSQL and the stores need the system user {name}, and this machine has no useradd to make it: "
            "make the user yourself, or run as a normal user."
        )
    nologin = shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin:/bin") or "/bin/false"
    done = subprocess.run(
        [
            program,
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            nologin,
            name,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise NodeError(
            f"The system user {name} could not be made ({reason}): make it yourself, or run as a normal user."
        )
