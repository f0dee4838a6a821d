"""The system account that runs PostgreSQL, NATS and the stores if root starts the platform."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass

from storefleet.node.node_error import NodeError

ACCOUNT_NAME = "storefleet"


@dataclass(frozen=True)
class SystemAccount:
    """An unprivileged user that a process runs as."""

    name: str
    uid: int
    gid: int


def ensure_account(name: str = ACCOUNT_NAME) -> SystemAccount | None:
    """Find the system account for a node that root runs; create the account if it is missing.

    Args:
        name: The user name of the account.

    Returns:
        The account; None if a normal user runs the node.

    Raises:
        NodeError: The account cannot be created, or it has the id of root.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        _create_account(name)
        entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise NodeError(
            f"The system user {name} has the id of root. Give it another id, or run as a normal "
            "user."
        )
    return SystemAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_account(name: str) -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise NodeError(
            f"The system user {name}, which runs PostgreSQL and the stores, cannot be created: "
            "this machine has no useradd. Create the user yourself, or run as a normal user."
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
            f"The system user {name} cannot be created: {reason}. Create it yourself, or run as "
            "a normal user."
        )
