"""Build the images of the engine Medusa.

Layers, from below: Debian, PostgreSQL, Node, the npm packages, the store's own code, the admin
pages, and the template database that the store creates inside the image.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.images import debian, layers, npm
from tools.images.cache import CacheKey, LayerCache
from tools.images.layers import INSTALL_ROOT, ROOT
from tools.images.oci import Layer
from tools.images.products import (
    INIT_COMMAND,
    BuildContext,
    EngineRelease,
    ImageProduct,
    check_locked_version,
    list_locked_releases,
    make_image,
)
from tools.images.programs import run_program

STORE_SOURCE = ROOT / "stores" / "medusa"
TARGET_FOLDER = INSTALL_ROOT / "medusa"
NODE_ROOT = Path("opt/node")
LOCK_FILES = ("package.json", "package-lock.json")
SOURCE_ENTRIES = ("medusa-config.js", "src", "assets")
ADMIN_SCRIPT = "scripts/build-admin.mjs"
ADMIN_TIMEOUT_S = 900
#: Half of V8's default semi-space size: more frequent collections, and a quarter less memory.
NODE_OPTIONS = (
    "--max-semi-space-size=4",
    "--disable-warning=ExperimentalWarning",
    "--disable-warning=DeprecationWarning",
)
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the only writable folder of a container
    "LANG": "C.UTF-8",
    "MEDUSA_DISABLE_TELEMETRY": "true",
    "NODE_ENV": "production",
    "PATH": f"/{NODE_ROOT}/bin:/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TZ": "UTC",
}
#: Modules that no store enables (Redis, external services), build tools of the admin pages, and
#: telemetry.
EXCLUDED_PACKAGES = (
    "@medusajs/admin-bundler",
    "@medusajs/dashboard",
    "@medusajs/draft-order",
    "react",
    "react-dom",
    "vite",
    "@medusajs/analytics",
    "@medusajs/analytics-local",
    "@medusajs/analytics-posthog",
    "posthog-node",
    "@medusajs/auth-github",
    "@medusajs/auth-google",
    "@medusajs/auth-oidc",
    "@medusajs/rbac",
    "@medusajs/cache-redis",
    "@medusajs/caching-redis",
    "@medusajs/event-bus-redis",
    "@medusajs/locking-redis",
    "@medusajs/workflow-engine-redis",
    "@medusajs/file-s3",
    "@aws-sdk/client-dynamodb",
    "connect-dynamodb",
    "@medusajs/notification-sendgrid",
    "@medusajs/payment-stripe",
    "@medusajs/translation",
    "@opentelemetry/instrumentation-pg",
    "@opentelemetry/resources",
    "@opentelemetry/sdk-node",
    "@opentelemetry/sdk-trace-node",
    "@jercle/yargonaut",
    "@types/node",
)
#: Files for developers of a package.
EXCLUDED_FILES = (
    "*.map",
    "*.d.ts",
    "*.d.mts",
    "*.d.cts",
    "*.md",
    "*.markdown",
    "*.tsbuildinfo",
    ".package-lock.json",
)
EXCLUDED_FOLDERS = ("oas", "__tests__", "__mocks__", "__fixtures__")
#: Medusa looks for this folder in each of its modules and creates it when missing, which fails in a
#: read-only container.
MIGRATIONS_FOLDER = Path("dist", "migrations")


def build_products(build: BuildContext) -> Iterable[ImageProduct]:
    """Build one image per version in engine.yaml that is locked here."""
    for release, lock in list_locked_releases("medusa"):
        yield _build_product(build.cache, release, lock)


def _build_product(cache: LayerCache, release: EngineRelease, lock: Path) -> ImageProduct:
    packages, admin = _build_npm_layers(cache, release, lock)
    below = (
        debian.build_base_layer(cache),
        layers.build_postgresql_layer(cache),
        build_node_layer(cache),
        packages,
        build_source_layer(cache, release, lock),
    )
    parts = (*below, admin, build_template_layer(cache, release, below))
    entrypoint = (*INIT_COMMAND, "node", *NODE_OPTIONS, f"/{TARGET_FOLDER}/src/programs/main.mjs")
    image = make_image(
        release.image,
        parts,
        entrypoint=entrypoint,
        command=("serve",),
        environment=ENVIRONMENT,
        plain=True,
    )
    archive = f"medusa-{release.version}"
    return ImageProduct(
        archive_name=archive,
        image=image,
        engine="medusa",
        version=release.version,
        notes=release.notes,
    )


def build_node_layer(cache: LayerCache) -> Layer:
    """Build the layer with the program node, without npm."""
    key = layers.create_key("node").add_file(npm.NODE_LOCK).add_file(Path(npm.__file__))
    if (known := cache.find_layer("node", key)) is not None:
        return known
    with cache.create_work_folder() as work:
        program = work / "root" / NODE_ROOT / "bin" / "node"
        program.parent.mkdir(parents=True)
        shutil.copyfile(npm.install_node(work, cache) / "bin" / "node", program)
        layers.normalise_modes(work / "root")
        program.chmod(0o755)
        return cache.store_layer(work / "root", name="node", key=key)


def build_source_layer(cache: LayerCache, release: EngineRelease, lock: Path) -> Layer:
    """Build the layer with the store's code and its lock, which the store's set-up reads."""
    name = f"medusa-source-{release.version}"
    key = CacheKey(name, SOURCE_ENTRIES)
    for part in SOURCE_ENTRIES:
        path = STORE_SOURCE / part
        _ = key.add_tree(path) if path.is_dir() else key.add_file(path)
    for part in LOCK_FILES:
        key.add_file(lock / part)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as work:
        _copy_entries(STORE_SOURCE, SOURCE_ENTRIES, work / "root" / TARGET_FOLDER)
        _copy_entries(lock, LOCK_FILES, work / "root" / TARGET_FOLDER)
        layers.normalise_modes(work / "root")
        return cache.store_layer(work / "root", name=name, key=key)


def build_template_layer(
    cache: LayerCache, release: EngineRelease, below: tuple[Layer, ...]
) -> Layer:
    """Run the store inside the layers below to create its template database cluster."""
    name = f"medusa-template-{release.version}"
    key = CacheKey(name)
    for layer in below:
        key.add_layer(layer)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    command = ("node", *NODE_OPTIONS, f"/{TARGET_FOLDER}/src/programs/main.mjs", "bake")
    variables = {**ENVIRONMENT, "STORE_BAKE_FOLDER": "/output"}
    with cache.create_work_folder() as work:
        failure = "The template database of Medusa could not be created"
        root = debian.run_in_layers(
            below, work, command, failure=failure, environment=variables, cache=cache
        )
        target = work / "layer" / INSTALL_ROOT / "template"
        target.parent.mkdir(parents=True)
        shutil.copytree(root / "output", target)
        return cache.store_layer(work / "layer", name=name, key=key)


def _build_npm_layers(cache: LayerCache, release: EngineRelease, lock: Path) -> tuple[Layer, Layer]:
    """Build the layers of packages and admin pages, which share one slow npm installation."""
    check_locked_version(release, r'"@medusajs/medusa": "([^"]+)"', lock / "package.json")
    installed = layers.create_key("medusa-npm").add_file(npm.NODE_LOCK).add_file(Path(npm.__file__))
    for name in LOCK_FILES:
        installed.add_file(lock / name)
    kept = (EXCLUDED_PACKAGES, EXCLUDED_FILES, EXCLUDED_FOLDERS, str(MIGRATIONS_FOLDER))
    builders: dict[str, tuple[CacheKey, Callable[[Path, Path, Path, LayerCache], None]]] = {
        f"medusa-packages-{release.version}": (
            CacheKey("packages", str(installed), *kept),
            _collect_packages,
        ),
        f"medusa-admin-{release.version}": (
            CacheKey("admin", str(installed)).add_file(STORE_SOURCE / ADMIN_SCRIPT),
            _build_admin,
        ),
    }
    found = {name: cache.find_layer(name, key) for name, (key, _) in builders.items()}
    if None in found.values():
        with cache.create_work_folder() as work:
            project = work / "medusa"
            _copy_entries(lock, LOCK_FILES, project)
            _copy_entries(STORE_SOURCE, (ADMIN_SCRIPT,), project)
            program = npm.install_node(work, cache)
            npm.install_packages(program, project, cache=cache)
            for name, (key, build) in builders.items():
                if found[name] is None:
                    build(program, project, work / name, cache)
                    layers.normalise_modes(work / name)
                    found[name] = cache.store_layer(work / name, name=name, key=key)
    packages, admin = (layer for layer in found.values() if layer is not None)
    return packages, admin


def _collect_packages(program: Path, project: Path, root: Path, cache: LayerCache) -> None:
    del program, cache
    copy_runtime_packages(project, root)


def copy_runtime_packages(project: Path, root: Path) -> None:
    """Copy the packages that a running store needs to their place below `root`."""
    npm.copy_needed_packages(project, root / TARGET_FOLDER, EXCLUDED_PACKAGES)
    for pattern in EXCLUDED_FILES:
        for path in list((root / TARGET_FOLDER).rglob(pattern)):
            path.unlink()
    for name in EXCLUDED_FOLDERS:
        for path in list((root / TARGET_FOLDER).rglob(name)):
            if path.is_dir():
                shutil.rmtree(path)
    for built in (root / TARGET_FOLDER / "node_modules" / "@medusajs").glob("*/dist"):
        (built.parent / MIGRATIONS_FOLDER).mkdir(exist_ok=True)


def _build_admin(program: Path, project: Path, root: Path, cache: LayerCache) -> None:
    run_program(
        ("nice", program / "bin/node", project / ADMIN_SCRIPT),
        failure="The admin pages of Medusa could not be built",
        timeout_s=ADMIN_TIMEOUT_S,
        environment=npm.make_environment(program),
        log=cache.log,
    )
    shutil.copytree(project / "public", root / TARGET_FOLDER / "public")


def _copy_entries(folder: Path, names: Iterable[str], target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (folder / name).is_dir():
            shutil.copytree(folder / name, target / name)
        else:
            shutil.copyfile(folder / name, target / name)
