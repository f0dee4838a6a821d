"""The image of an Oscar shop: its code and packages, and the template that it makes of itself."""

import shutil
from collections.abc import Iterable

from build_images import debian, layers
from build_images.cache import Cache, Key
from build_images.layers import HOME, ROOT
from build_images.oci import Layer
from build_images.products import INIT, Build, Product, make_image, release_of

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
    cache, release = build.cache, release_of("oscar")
    below = (
        debian.base(cache),
        layers.postgresql(cache),
        environment(cache),
        source(cache),
    )
    parts = (*below, template(cache, below))
    entrypoint = (*INIT, "python", "-m", "storefleet_oscar")
    image = make_image(release.image, parts, entrypoint=entrypoint, command=("serve",), environment=ENVIRONMENT)
    yield Product(archive="oscar", image=image, engine="oscar", version=release.version, notes=release.notes)


def environment(cache: Cache) -> Layer:
    lock, build = SHOP / "requirements.txt", SHOP / "requirements-build.txt"
    key = layers.recipe("oscar-environment", LEFT_OUT).file(lock).file(build)
    return layers.environment(cache, "oscar-environment", key, lock=lock, build=(build,), left_out=LEFT_OUT)


def source(cache: Cache) -> Layer:
    key = layers.recipe("oscar-source").tree(SHOP / "src")
    return layers.code(cache, "oscar-source", key, {HOME / "src": SHOP / "src"}, compiled=(HOME / "src",))


def template(cache: Cache, below: tuple[Layer, ...]) -> Layer:
    """The dump, files and empty cluster that the shop makes itself, inside the image as it is up to here."""
    key = Key("oscar-template")
    for layer in below:
        key.layer(layer)
    if (known := cache.find("oscar-template", key)) is not None:
        return known
    variables = {**layers.ENVIRONMENT, **ENVIRONMENT, "STORE_BAKE_FOLDER": "/output"}
    with cache.room() as room:
        command = ("python", "-m", "storefleet_oscar", "bake")
        what = "the shop's template could not be made"
        root = debian.run_inside(below, room, command, what=what, env=variables, cache=cache)
        target = room / "layer" / HOME / "template"
        target.parent.mkdir(parents=True)
        shutil.copytree(root / "output", target)
        return cache.keep(room / "layer", name="oscar-template", key=key)
