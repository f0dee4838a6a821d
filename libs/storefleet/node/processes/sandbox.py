"""The last steps before a child's own program: executed as a script, with little of the standard library.

It waits for its supervisor's word (so that no child runs unrecorded), shows a user without rights the folders that the
program needs, gives up root and becomes the program. Where a folder on the way is closed to the user, as homes are, a
private mount namespace covers it with an empty one and puts only what is needed back in there.
"""

# Importing pathlib would take a third of the start-up time:
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
    """One line for the person at the terminal."""


def make_command(
    argv: Sequence[str],
    *,
    cwd: str,
    start_fd: int = -1,
    umask: int = 0o077,
    user: tuple[int, int] | None = None,
    readable_paths: Sequence[str] = (),
) -> list[str]:
    """The command line that runs `argv` by this script; `reach` are paths that the user has to get to."""
    uid, gid = user or (-1, -1)
    folders = [part for path in readable_paths for part in ("--reach", path)]
    head = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    numbers = {"--go": start_fd, "--umask": umask, "--uid": uid, "--gid": gid}
    options = [part for name, value in numbers.items() for part in (name, str(value))]
    return [*head, *options, "--cwd", cwd, *folders, "--", *argv]


def main(arguments: list[str]) -> NoReturn:
    end = arguments.index("--")
    argv, options = (
        arguments[end + 1 :],
        list(zip(arguments[:end:2], arguments[1:end:2], strict=True)),
    )
    reach = [value for name, value in options if name == "--reach"]
    one = dict(options)
    cwd, uid, gid = one["--cwd"], int(one["--uid"]), int(one["--gid"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # a shell's background job starts with SIGINT ignored
    os.umask(int(one["--umask"]))
    try:
        wait_for_start(int(one["--go"]))
        if uid > 0:
            import ctypes  # noqa: F401 - now, while Python's own folder is still within reach

            expose_paths([*reach, cwd, argv[0]], uid, gid)
            drop_privileges(uid, gid)
        os.chdir(cwd)
        os.execve(argv[0], argv, os.environ)  # noqa: S606 - this is what it is for
    except (SandboxError, OSError) as error:
        os.write(2, f"{error}\n".encode())
    os._exit(SANDBOX_EXIT_CODE)


def wait_for_start(descriptor: int) -> None:
    """Go on after one byte; a supervisor that died before it wrote one has recorded nothing, so nothing may run."""
    if descriptor < 0:
        return
    word = os.read(descriptor, 1)
    os.close(descriptor)
    if not word:
        os._exit(SANDBOX_EXIT_CODE)


def drop_privileges(uid: int, gid: int) -> None:
    """Lose every right that the user does not have, for good."""
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    call_libc("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def expose_paths(paths: Sequence[str], uid: int, gid: int) -> None:
    """Make the wanted paths reachable for the user, in this process and its children only."""
    folders: set[str] = set()
    links: dict[str, str] = {}
    needed = {resolve_path(path, folders, links) for path in paths}
    closed = select_topmost(find_closed_folders(folders, uid, gid))
    if not closed:
        return
    create_mount_namespace(closed[0], uid)
    # Opened inside the new namespace (a mount of another one cannot be bound) and before anything is covered.
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
    """Walk to a path as the kernel does, noting the folders passed and the links followed; returns where it ends."""
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
            raise SandboxError(f"Too many symbolic links on the way to {path}.")
        todo = target.split("/") + todo
        here = "" if target.startswith("/") else here
    return here


def find_closed_folders(folders: set[str], uid: int, gid: int) -> set[str]:
    """Those that the user may not pass, as the kernel sees it: modes, groups, access lists."""
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
    try:
        os.stat(f"{folder}/.")
    except PermissionError:
        return False
    return True


def create_mount_namespace(closed: str, uid: int) -> None:
    try:
        call_libc("unshare", CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE, None)
    except OSError as error:
        raise SandboxError(
            f"The folder {closed} is closed to the system user (number {uid}) that runs PostgreSQL and the stores, and "
            f"this machine permits no private mount namespace ({error.strerror}): move the clone and Python to where "
            "every user may reach them, or run as a normal user."
        ) from None


def bind_path(path: str, source: int) -> None:
    """Bind an opened folder or file to its own path again."""
    origin = f"/proc/self/fd/{source}"
    if os.path.isdir(origin):
        os.makedirs(path, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(origin, path, None, MS_BIND | MS_REC, None)
    os.close(source)


def select_topmost(paths: set[str]) -> list[str]:
    """The paths that lie in none of the others."""
    return sorted(path for path in paths if not is_inside_any(path, paths))


def is_inside_any(path: str, folders: set[str] | list[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders if folder != path)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    texts = [part.encode() if part is not None else None for part in (source, target, kind)]
    call_libc("mount", *texts, flags, data.encode() if data is not None else None)


def call_libc(name: str, *arguments: bytes | int | None) -> None:
    """Call the C library; raises OSError."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(library, name)(*values) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


if __name__ == "__main__":
    main(sys.argv[1:])
