"""The image of an Oscar shop: its code and packages, and the template that it makes of itself."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, layers
from tools.images.cache import Cache, Key
from tools.images.layers import HOME, ROOT
from tools.images.oci import Layer
from tools.images.products import INIT, Build, Product, Release, insist_on, make_image, releases_of

SHOP = ROOT / "stores" / "oscar"
ENVIRONMENT = {"PYTHONPATH": f"/{HOME}/src"}
#: Test data makers that Oscar's own tests use; places and networks of phone numbers; languages that are not shown.
LEFT_OUT = (
    *("factory", "factory_boy-*", "faker", "faker-*", "oscar/test"),
    *("phonenumbers/geodata", "phonenumbers/carrierdata", "phonenumbers/tzdata"),
    *(
        "pycountry/locales",
        "babel/locale-data/[!er]*.dat",
        "babel/locale-data/e[!n]*.dat",
        "babel/locale-data/r[!o]*.dat",
    ),
)


def products(build: Build) -> Iterable[Product]:
    for release, lock in releases_of("oscar"):
        yield _product(build.cache, release, lock)


def _product(cache: Cache, release: Release, lock: Path) -> Product:
    below = (
        debian.base(cache),
        layers.postgresql(cache),
        environment(cache, release, lock),
        source(cache),
    )
    parts = (*below, template(cache, release, below))
    entrypoint = (*INIT, "python", "-m", "storefleet_oscar")
    image = make_image(
        release.image, parts, entrypoint=entrypoint, command=("serve",), environment=ENVIRONMENT
    )
    archive = f"oscar-{release.version}"
    return Product(
        archive=archive, image=image, engine="oscar", version=release.version, notes=release.notes
    )


def environment(cache: Cache, release: Release, folder: Path) -> Layer:
    lock, build, name = (
        folder / "requirements.txt",
        SHOP / "requirements-build.txt",
        f"oscar-packages-{release.version}",
    )
    insist_on(release, r"(?m)^django-oscar==(\S+)", lock)
    key = layers.recipe(name, LEFT_OUT).file(lock).file(build)
    return layers.environment(cache, name, key, lock=lock, build=(build,), left_out=LEFT_OUT)


def source(cache: Cache) -> Layer:
    key = layers.recipe("oscar-source").tree(SHOP / "src")
    return layers.code(
        cache, "oscar-source", key, {HOME / "src": SHOP / "src"}, compiled=(HOME / "src",)
    )


def template(cache: Cache, release: Release, below: tuple[Layer, ...]) -> Layer:
    """The dump, files and empty cluster that the shop makes itself, inside the image as it is up to here."""
    name = f"oscar-template-{release.version}"
    key = Key(name)
    for layer in below:
        key.layer(layer)
    if (known := cache.find(name, key)) is not None:
        return known
    variables = {**layers.ENVIRONMENT, **ENVIRONMENT, "STORE_BAKE_FOLDER": "/output"}
    with cache.room() as room:
        command = ("python", "-m", "storefleet_oscar", "bake")
        what = "the shop's template could not be made"
        root = debian.run_inside(below, room, command, what=what, env=variables, cache=cache)
        target = room / "layer" / HOME / "template"
        target.parent.mkdir(parents=True)
        shutil.copytree(root / "output", target)
        return cache.keep(room / "layer", name=name, key=key)
