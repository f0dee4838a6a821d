"""Build the images of the engine Oscar.

Layers, from below: Debian, PostgreSQL, the Python packages, the store's code, and the template
that the store creates inside the image.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, layers
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

STORE_SOURCE = ROOT / "stores" / "oscar"
ENVIRONMENT = {"PYTHONPATH": f"/{INSTALL_ROOT}/src"}
#: Test data generators of Oscar's tests, geographic data of phone numbers, and locales that are not
#: displayed.
EXCLUDED = (
    "factory",
    "factory_boy-*",
    "faker",
    "faker-*",
    "oscar/test",
    "phonenumbers/geodata",
    "phonenumbers/carrierdata",
    "phonenumbers/tzdata",
    "pycountry/locales",
    "babel/locale-data/[!er]*.dat",
    "babel/locale-data/e[!n]*.dat",
    "babel/locale-data/r[!o]*.dat",
)


def build_products(build: BuildContext) -> Iterable[ImageProduct]:
    """Build one image per version in engine.yaml that is locked here."""
    for release, lock in list_locked_releases("oscar"):
        yield _build_product(build.cache, release, lock)


def _build_product(cache: LayerCache, release: EngineRelease, lock: Path) -> ImageProduct:
    below = (
        debian.build_base_layer(cache),
        layers.build_postgresql_layer(cache),
        build_environment_layer(cache, release, lock),
        build_source_layer(cache),
    )
    parts = (*below, build_template_layer(cache, release, below))
    entrypoint = (*INIT_COMMAND, "python", "-m", "storefleet_oscar")
    image = make_image(
        release.image, parts, entrypoint=entrypoint, command=("serve",), environment=ENVIRONMENT
    )
    archive = f"oscar-{release.version}"
    return ImageProduct(
        archive_name=archive,
        image=image,
        engine="oscar",
        version=release.version,
        notes=release.notes,
    )


def build_environment_layer(cache: LayerCache, release: EngineRelease, folder: Path) -> Layer:
    """Build the layer of locked Python packages; `folder` contains the lock."""
    name = f"oscar-packages-{release.version}"
    lock, build = folder / "requirements.txt", STORE_SOURCE / "requirements-build.txt"
    check_locked_version(release, r"(?m)^django-oscar==(\S+)", lock)
    key = layers.create_key(name, EXCLUDED).add_file(lock).add_file(build)
    return layers.build_environment_layer(
        cache, name, key, lock=lock, build_locks=(build,), excluded=EXCLUDED
    )


def build_source_layer(cache: LayerCache) -> Layer:
    """Build the layer of the store's code."""
    key = layers.create_key("oscar-source").add_tree(STORE_SOURCE / "src")
    return layers.build_code_layer(
        cache,
        "oscar-source",
        key,
        {INSTALL_ROOT / "src": STORE_SOURCE / "src"},
        compiled=(INSTALL_ROOT / "src",),
    )


def build_template_layer(
    cache: LayerCache, release: EngineRelease, below: tuple[Layer, ...]
) -> Layer:
    """Run the store inside the layers below to create its template: dump, files, empty cluster."""
    name = f"oscar-template-{release.version}"
    key = CacheKey(name)
    for layer in below:
        key.add_layer(layer)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    variables = {**layers.ENVIRONMENT, **ENVIRONMENT, "STORE_BAKE_FOLDER": "/output"}
    with cache.create_work_folder() as work:
        command = ("python", "-m", "storefleet_oscar", "bake")
        failure = "The template of Oscar could not be created"
        root = debian.run_in_layers(
            below, work, command, failure=failure, environment=variables, cache=cache
        )
        target = work / "layer" / INSTALL_ROOT / "template"
        target.parent.mkdir(parents=True)
        shutil.copytree(root / "output", target)
        return cache.store_layer(work / "layer", name=name, key=key)
