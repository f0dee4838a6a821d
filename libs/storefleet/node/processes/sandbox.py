"""The sandbox script: prepare a child's process, then replace it by the program.

The script waits for the supervisor's start byte, so that no unrecorded child runs. It makes the
program's paths reachable for an unprivileged user, drops root's privileges, and executes the
program. If the user cannot pass a folder on the way (home folders are often closed), a private
mount namespace covers it with an empty file system and binds only the needed paths into it.
"""

# Every child starts with this script. Importing pathlib would be a third of its start-up time:
# ruff: noqa: PTH100, PTH103, PTH112, PTH114, PTH115, PTH116, PTH120, PTH211

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_NO_NEW_PRIVS = 38
MAX_SYMLINKS = 40
SANDBOX_EXIT_CODE = 78


class SandboxError(Exception):
    """The sandbox cannot be set up; the text is the last line of the child's log."""


def make_command(
    argv: Sequence[str],
    *,
    cwd: str,
    start_fd: int = -1,
    umask: int = 0o077,
    user: tuple[int, int] | None = None,
    readable_paths: Sequence[str] = (),
) -> list[str]:
    """Make the command line that runs a program in the sandbox.

    Args:
        argv: The program and its arguments.
        cwd: The working directory of the program.
        start_fd: The descriptor on which the start byte arrives; -1 starts at once.
        umask: The mode bits that new files do not get.
        user: User id and group id to change to; None keeps the current user.
        readable_paths: Paths besides `cwd` that the user must be able to reach.

    Returns:
        The command line.
    """
    uid, gid = user or (-1, -1)
    paths = [part for path in readable_paths for part in ("--readable-path", path)]
    head = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    numbers = {"--start-fd": start_fd, "--umask": umask, "--uid": uid, "--gid": gid}
    options = [part for name, value in numbers.items() for part in (name, str(value))]
    return [*head, *options, "--cwd", cwd, *paths, "--", *argv]


def main(arguments: list[str]) -> NoReturn:
    """Set the sandbox up and execute the program.

    Args:
        arguments: The arguments that `make_command` made, without interpreter and script.
    """
    end = arguments.index("--")
    argv = arguments[end + 1 :]
    options = list(zip(arguments[:end:2], arguments[1:end:2], strict=True))
    readable_paths = [value for name, value in options if name == "--readable-path"]
    values = dict(options)
    cwd, uid, gid = values["--cwd"], int(values["--uid"]), int(values["--gid"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # shells start background jobs with SIGINT ignored
    os.umask(int(values["--umask"]))
    try:
        wait_for_start(int(values["--start-fd"]))
        if uid > 0:
            import ctypes  # noqa: F401 - while Python's own folder is still reachable

            expose_paths([*readable_paths, cwd, argv[0]], uid, gid)
            drop_privileges(uid, gid)
        os.chdir(cwd)
        os.execve(argv[0], argv, os.environ)  # noqa: S606 - the program replaces this script
    except (SandboxError, OSError) as error:
        os.write(2, f"{error}\n".encode())
    os._exit(SANDBOX_EXIT_CODE)


def wait_for_start(descriptor: int) -> None:
    """Wait for the start byte; exit if the pipe closes without one.

    A supervisor that died before it wrote the byte has no record of this child.

    Args:
        descriptor: The reading end of the pipe; -1 does not wait.
    """
    if descriptor < 0:
        return
    start_byte = os.read(descriptor, 1)
    os.close(descriptor)
    if not start_byte:
        os._exit(SANDBOX_EXIT_CODE)


def drop_privileges(uid: int, gid: int) -> None:
    """Change to a user for good: no process of this tree can gain privileges again."""
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    call_libc("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def expose_paths(paths: Sequence[str], uid: int, gid: int) -> None:
    """Make paths reachable for a user, in this process and its children only.

    Args:
        paths: The paths that the program needs.
        uid: The user id.
        gid: The group id.

    Raises:
        SandboxError: The kernel permits no mount namespace, or a path has too many links.
    """
    folders: set[str] = set()
    links: dict[str, str] = {}
    needed = {resolve_path(path, folders, links) for path in paths}
    closed = select_topmost(find_closed_folders(folders, uid, gid))
    if not closed:
        return
    create_mount_namespace(closed[0], uid)
    # Opened inside the new namespace, because a mount of another namespace cannot be bound, and
    # before anything is covered.
    sources = {
        path: os.open(path, os.O_PATH)
        for path in select_topmost(needed)
        if is_inside_any(path, closed)
    }
    os.chdir("/")
    mask = os.umask(0o022)
    for folder in closed:
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for path, source in sources.items():
        bind_path(path, source)
    for place, target in links.items():
        if is_inside_any(place, closed) and not os.path.lexists(place):
            os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
            os.symlink(target, place)
    for folder in closed:
        mount(
            "tmpfs",
            folder,
            None,
            MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV,
            "size=1m,mode=0755",
        )
    os.umask(mask)


def resolve_path(path: str, folders: set[str], links: dict[str, str]) -> str:
    """Resolve a path as the kernel does, and collect the folders and links on the way.

    Args:
        path: An absolute path.
        folders: Receives the folders that are passed.
        links: Receives the target of every symbolic link that is followed, by its path.

    Returns:
        The resolved path.

    Raises:
        SandboxError: The path has more links than the kernel follows (40).
    """
    todo, here, followed = path.split("/"), "", 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            here = here.rpartition("/")[0]
            continue
        folders.add(here or "/")
        step = f"{here}/{part}"
        if not os.path.islink(step):
            here = step
            continue
        links[step] = target = os.readlink(step)
        followed += 1
        if followed > MAX_SYMLINKS:
            raise SandboxError(
                f"The path {path} cannot be resolved: it has more than {MAX_SYMLINKS} symbolic "
                "links. Remove the loop."
            )
        todo = target.split("/") + todo
        here = "" if target.startswith("/") else here
    return here


def find_closed_folders(folders: set[str], uid: int, gid: int) -> set[str]:
    """Find the folders that a user cannot pass; the kernel decides by modes, groups and ACLs."""
    groups = os.getgroups()
    os.setgroups([gid])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return {folder for folder in folders if not is_passable(folder)}
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def is_passable(folder: str) -> bool:
    """Check whether the current user can pass a folder."""
    try:
        os.stat(f"{folder}/.")
    except PermissionError:
        return False
    return True


def create_mount_namespace(closed: str, uid: int) -> None:
    """Move this process into a mount namespace of its own.

    Args:
        closed: A folder that needs covering, for the error text.
        uid: The user who cannot pass it, for the error text.

    Raises:
        SandboxError: The kernel permits no mount namespace.
    """
    try:
        call_libc("unshare", CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE, None)
    except OSError as error:
        raise SandboxError(
            f"The folder {closed} is closed to the system user (id {uid}) that runs PostgreSQL "
            "and the stores, and this machine permits no private mount namespace "
            f"({error.strerror}). Move Storefleet and Python to a folder that every user can "
            "reach, or run as a normal user."
        ) from None


def bind_path(path: str, source: int) -> None:
    """Bind an opened folder or file to its own path in the covered folder.

    Args:
        path: The path.
        source: The descriptor of the folder or file; it is closed.
    """
    origin = f"/proc/self/fd/{source}"
    if os.path.isdir(origin):
        os.makedirs(path, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(origin, path, None, MS_BIND | MS_REC, None)
    os.close(source)


def select_topmost(paths: set[str]) -> list[str]:
    """Select the paths that lie in none of the others, sorted."""
    return sorted(path for path in paths if not is_inside_any(path, paths))


def is_inside_any(path: str, folders: set[str] | list[str]) -> bool:
    """Check whether a path lies below one of the folders."""
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders if folder != path)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    """Attach a file system with the system call `mount`."""
    texts = [part.encode() if part is not None else None for part in (source, target, kind)]
    call_libc("mount", *texts, flags, data.encode() if data is not None else None)


def call_libc(name: str, *arguments: bytes | int | None) -> None:
    """Call a function of the C library that returns 0 on success.

    Raises:
        OSError: The function failed; the error has its errno.
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(library, name)(*values) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


if __name__ == "__main__":
    main(sys.argv[1:])
