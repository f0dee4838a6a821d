"""Private files of the state folder, written so that a kill in the middle leaves the old content."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from storefleet.node.system_user import SystemAccount


def create_folder(path: Path, mode: int = 0o700) -> Path:
    """The folder, owned by the caller, with exactly this mode whatever the umask."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def create_traversable_folder(path: Path, account: SystemAccount | None) -> Path:
    """A folder through which the account reaches what is given to it, and in which it sees nothing else."""
    create_folder(path, 0o710 if account else 0o700)
    if account:
        os.chown(path, os.getuid(), account.gid)
    return path


def create_readable_folder(path: Path, account: SystemAccount | None) -> Path:
    """A folder the account may enter and read but not change; private when there is no account."""
    create_folder(path, 0o750 if account else 0o700)
    if account:
        os.chown(path, os.getuid(), account.gid)
    return path


def create_owned_folder(path: Path, account: SystemAccount | None) -> Path:
    """A folder that belongs to the account alone."""
    create_folder(path)
    if account:
        os.chown(path, account.uid, account.gid)
    return path


def write_file(
    path: Path,
    content: str,
    *,
    readers: SystemAccount | None = None,
    owner: SystemAccount | None = None,
    durable: bool = True,
) -> None:
    """Replace a file in one step; only the caller reads it, and `readers`' group or `owner` when given."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    mode = 0o640 if readers else 0o600
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            if readers:
                os.fchown(file.fileno(), os.getuid(), readers.gid)
            if owner:
                os.fchown(file.fileno(), owner.uid, owner.gid)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(
    path: Path,
    content: Any,
    *,
    readers: SystemAccount | None = None,
    owner: SystemAccount | None = None,
    durable: bool = True,
) -> None:
    write_file(
        path, json.dumps(content, indent=2) + "\n", readers=readers, owner=owner, durable=durable
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; an empty one when the file is missing or was never finished."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def change_tree_owner(folder: Path, account: SystemAccount | None) -> None:
    """Hand a whole tree over without ever following a link out of it."""
    if account is None:
        return
    for _, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *names):
            os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def load_or_create_secret(path: Path) -> str:
    """A random secret, made at the first call and the same ever after."""
    try:
        found = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = secrets.token_urlsafe(24)
        write_file(path, found)
    return found
