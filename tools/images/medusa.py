"""The image of a Medusa shop: Node, its packages, the admin's pages, our own code, and the database that it makes."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.images import debian, layers, npm
from tools.images.cache import Cache, Key
from tools.images.failure import run
from tools.images.layers import HOME, ROOT
from tools.images.oci import Layer
from tools.images.products import INIT, Build, Product, Release, insist_on, make_image, releases_of

SHOP = ROOT / "stores" / "medusa"
TARGET = HOME / "medusa"
NODE = Path("opt/node")
LOCK = ("package.json", "package-lock.json")
SOURCE = ("medusa-config.js", "src", "assets")
ADMIN = "scripts/build-admin.mjs"
ADMIN_TIMEOUT = 900
#: Half of what V8 takes by itself for what is new: it collects more often, and a shop needs a quarter less memory.
OPTIONS = (
    "--max-semi-space-size=4",
    "--disable-warning=ExperimentalWarning",
    "--disable-warning=DeprecationWarning",
)
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder of a container that is writable
    "LANG": "C.UTF-8",
    "MEDUSA_DISABLE_TELEMETRY": "true",
    "NODE_ENV": "production",
    "PATH": f"/{NODE}/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TZ": "UTC",
}
#: Modules that no store has on (Redis, other people's services), what builds the admin's pages, and what measures.
LEFT_OUT = (
    *(
        "@medusajs/admin-bundler",
        "@medusajs/dashboard",
        "@medusajs/draft-order",
        "react",
        "react-dom",
        "vite",
    ),
    *(
        "@medusajs/analytics",
        "@medusajs/analytics-local",
        "@medusajs/analytics-posthog",
        "posthog-node",
    ),
    *("@medusajs/auth-github", "@medusajs/auth-google", "@medusajs/auth-oidc", "@medusajs/rbac"),
    *(
        "@medusajs/cache-redis",
        "@medusajs/caching-redis",
        "@medusajs/event-bus-redis",
        "@medusajs/locking-redis",
    ),
    *(
        "@medusajs/workflow-engine-redis",
        "@medusajs/file-s3",
        "@aws-sdk/client-dynamodb",
        "connect-dynamodb",
    ),
    *("@medusajs/notification-sendgrid", "@medusajs/payment-stripe", "@medusajs/translation"),
    *("@opentelemetry/instrumentation-pg", "@opentelemetry/resources", "@opentelemetry/sdk-node"),
    *("@opentelemetry/sdk-trace-node", "@jercle/yargonaut", "@types/node"),
)
#: For people who read or change a package.
UNREAD = (
    "*.map",
    "*.d.ts",
    "*.d.mts",
    "*.d.cts",
    "*.md",
    "*.markdown",
    "*.tsbuildinfo",
    ".package-lock.json",
)
UNREAD_FOLDERS = ("oas", "__tests__", "__mocks__", "__fixtures__")
#: Looked for in every module of Medusa, and made where there is none, which nobody may do in a container.
INSISTED_ON = Path("dist", "migrations")


def products(build: Build) -> Iterable[Product]:
    for release, lock in releases_of("medusa"):
        yield _product(build.cache, release, lock)


def _product(cache: Cache, release: Release, lock: Path) -> Product:
    packages, admin = _made_by_npm(cache, release, lock)
    below = (
        debian.base(cache),
        layers.postgresql(cache),
        node(cache),
        packages,
        source(cache, release, lock),
    )
    parts = (*below, admin, template(cache, release, below))
    entrypoint = (*INIT, "node", *OPTIONS, f"/{TARGET}/src/programs/main.mjs")
    image = make_image(
        release.image,
        parts,
        entrypoint=entrypoint,
        command=("serve",),
        environment=ENVIRONMENT,
        plain=True,
    )
    archive = f"medusa-{release.version}"
    return Product(
        archive=archive, image=image, engine="medusa", version=release.version, notes=release.notes
    )


def node(cache: Cache) -> Layer:
    """The one program, without what installs packages."""
    key = layers.recipe("node").file(npm.NODE).file(Path(npm.__file__))
    if (known := cache.find("node", key)) is not None:
        return known
    with cache.room() as room:
        program = room / "root" / NODE / "bin" / "node"
        program.parent.mkdir(parents=True)
        shutil.copyfile(npm.install_node(room, cache) / "bin" / "node", program)
        layers.open_up(room / "root")
        program.chmod(0o755)
        return cache.keep(room / "root", name="node", key=key)


def source(cache: Cache, release: Release, lock: Path) -> Layer:
    """Our code; and the lock, whose change is one of what a set-up does."""
    name = f"medusa-source-{release.version}"
    key = Key(name, SOURCE)
    for part in SOURCE:
        path = SHOP / part
        _ = key.tree(path) if path.is_dir() else key.file(path)
    for part in LOCK:
        key.file(lock / part)
    if (known := cache.find(name, key)) is not None:
        return known
    with cache.room() as room:
        _copy(SHOP, SOURCE, room / "root" / TARGET)
        _copy(lock, LOCK, room / "root" / TARGET)
        layers.open_up(room / "root")
        return cache.keep(room / "root", name=name, key=key)


def template(cache: Cache, release: Release, below: tuple[Layer, ...]) -> Layer:
    """The cluster that the shop makes itself, inside the image as it is up to here."""
    name = f"medusa-template-{release.version}"
    key = Key(name)
    for layer in below:
        key.layer(layer)
    if (known := cache.find(name, key)) is not None:
        return known
    command = ("node", *OPTIONS, f"/{TARGET}/src/programs/main.mjs", "bake")
    variables = {**ENVIRONMENT, "STORE_BAKE_FOLDER": "/output"}
    with cache.room() as room:
        what = "the shop's database could not be made"
        root = debian.run_inside(below, room, command, what=what, env=variables, cache=cache)
        target = room / "layer" / HOME / "template"
        target.parent.mkdir(parents=True)
        shutil.copytree(root / "output", target)
        return cache.keep(room / "layer", name=name, key=key)


def _made_by_npm(cache: Cache, release: Release, lock: Path) -> tuple[Layer, Layer]:
    """Packages and the admin's pages: they come from one installation, which is what takes time."""
    insist_on(release, r'"@medusajs/medusa": "([^"]+)"', lock / "package.json")
    installed = layers.recipe("medusa-npm").file(npm.NODE).file(Path(npm.__file__))
    for name in LOCK:
        installed.file(lock / name)
    kept = (LEFT_OUT, UNREAD, UNREAD_FOLDERS, str(INSISTED_ON))
    made: dict[str, tuple[Key, Callable[[Path, Path, Path, Cache], None]]] = {
        f"medusa-packages-{release.version}": (Key("packages", str(installed), *kept), _packages),
        f"medusa-admin-{release.version}": (
            Key("admin", str(installed)).file(SHOP / ADMIN),
            _admin,
        ),
    }
    found = {name: cache.find(name, key) for name, (key, _) in made.items()}
    if None in found.values():
        with cache.room() as room:
            project = room / "medusa"
            _copy(lock, LOCK, project)
            _copy(SHOP, (ADMIN,), project)
            program = npm.install_node(room, cache)
            npm.install(program, project, cache=cache)
            for name, (key, make) in made.items():
                if found[name] is None:
                    make(program, project, room / name, cache)
                    layers.open_up(room / name)
                    found[name] = cache.keep(room / name, name=name, key=key)
    packages, admin = (layer for layer in found.values() if layer is not None)
    return packages, admin


def _packages(program: Path, project: Path, root: Path, cache: Cache) -> None:
    del program, cache
    keep_packages(project, root)


def keep_packages(project: Path, root: Path) -> None:
    """What a running shop needs of the installed packages, at its place below `root`."""
    npm.keep_only_needed(project, root / TARGET, LEFT_OUT)
    for pattern in UNREAD:
        for path in list((root / TARGET).rglob(pattern)):
            path.unlink()
    for name in UNREAD_FOLDERS:
        for path in list((root / TARGET).rglob(name)):
            if path.is_dir():
                shutil.rmtree(path)
    for built in (root / TARGET / "node_modules" / "@medusajs").glob("*/dist"):
        (built.parent / INSISTED_ON).mkdir(exist_ok=True)


def _admin(program: Path, project: Path, root: Path, cache: Cache) -> None:
    run(
        ("nice", program / "bin/node", project / ADMIN),
        what="the admin's pages could not be built",
        timeout=ADMIN_TIMEOUT,
        env=npm.environment(program),
        log=cache.log,
    )
    shutil.copytree(project / "public", root / TARGET / "public")


def _copy(folder: Path, names: Iterable[str], target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (folder / name).is_dir():
            shutil.copytree(folder / name, target / name)
        else:
            shutil.copyfile(folder / name, target / name)
