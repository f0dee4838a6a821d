"""Private files and folders of the state folder, with exact owners and modes.

A file is replaced in one step: a process that is killed meanwhile leaves the old content.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from storefleet.node.system_user import SystemAccount


def create_folder(path: Path, mode: int = 0o700) -> Path:
    """Create a folder of the caller if it is missing; set its mode regardless of the umask.

    Returns:
        The folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def create_traversable_folder(path: Path, account: SystemAccount | None) -> Path:
    """Create a folder that the account can pass through but not list.

    Args:
        path: The folder.
        account: The system account; None keeps the folder private to the caller.

    Returns:
        The folder.
    """
    create_folder(path, 0o710 if account else 0o700)
    if account:
        os.chown(path, os.getuid(), account.gid)
    return path


def create_readable_folder(path: Path, account: SystemAccount | None) -> Path:
    """Create a folder that the account can read but not change.

    Args:
        path: The folder.
        account: The system account; None keeps the folder private to the caller.

    Returns:
        The folder.
    """
    create_folder(path, 0o750 if account else 0o700)
    if account:
        os.chown(path, os.getuid(), account.gid)
    return path


def create_owned_folder(path: Path, account: SystemAccount | None) -> Path:
    """Create a folder that belongs to the account alone.

    Args:
        path: The folder.
        account: The system account; None keeps the caller as the owner.

    Returns:
        The folder.
    """
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
    """Replace a file in one step; a symbolic link in its place is replaced, not followed.

    Args:
        path: The file. Its mode is 0600, or 0640 with `readers`.
        content: The new content.
        readers: An account whose group can read the file.
        owner: An account that owns the file instead of the caller.
        durable: Whether to wait until the content is on disk.
    """
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
    """Replace a file with a JSON document; the arguments are those of `write_file`."""
    write_file(
        path, json.dumps(content, indent=2) + "\n", readers=readers, owner=owner, durable=durable
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Returns:
        The object; an empty one if the file is missing or does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def change_tree_owner(folder: Path, account: SystemAccount | None) -> None:
    """Make an account the owner of a whole tree, without following symbolic links.

    Args:
        folder: The root of the tree.
        account: The new owner; None changes nothing.
    """
    if account is None:
        return
    for _, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *names):
            os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def load_or_create_secret(path: Path) -> str:
    """Return the secret of a file; create the file with a random secret if there is none."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        secret = ""
    if not secret:
        secret = secrets.token_urlsafe(24)
        write_file(path, secret)
    return secret
