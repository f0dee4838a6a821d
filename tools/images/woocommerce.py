"""Images of WooCommerce shops: one for each plugin that is given, with our theme and a shop to begin with."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, plugins, wordpress
from tools.images.cache import Cache, Key
from tools.images.layers import HOME, ROOT, open_up
from tools.images.oci import Layer, unpack
from tools.images.plugins import Plugin, Release
from tools.images.products import Build, Product, make_image

SHOP = ROOT / "stores" / "woocommerce"
CONTENT = wordpress.ROOT / "wp-content"
PLUGIN = CONTENT / "plugins/woocommerce"
THEME = CONTENT / "themes/storefleet"
UPLOADS = CONTENT / "uploads"
ENTRYPOINT = ("/usr/bin/dumb-init", "--single-child", "--", f"/{HOME}/shop/bin/store")
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder of a container that is writable
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PHPRC": f"/{HOME}/shop/etc",
    "PHP_INI_SCAN_DIR": "",
    "STORE_WORKERS": "8",
    "TZ": "UTC",
}
#: For people who work on the plugin.
LEFT_OUT = (".git*", "node_modules", "*.map", "*.scss", "*.pot", "sample-data", "tests")


def products(build: Build) -> Iterable[Product]:
    """Raises Absent when there is no plugin; every folder is looked at before the first image is made."""
    releases = plugins.releases(plugins.given(build.environment))
    cache = build.cache
    below = (wordpress.system(cache), wordpress.wordpress(cache), shop(cache))
    _insist(below[1], releases, cache)
    for release in releases:
        code = (*below, plugin(cache, release.plugin))
        parts = (*code, template(cache, release.plugin, code), theme(cache, release.theme))
        image = make_image(
            f"storefleet/woocommerce:{release.version}",
            parts,
            entrypoint=ENTRYPOINT,
            command=("web",),
            environment={**ENVIRONMENT, "STORE_RELEASE": release.version},
            plain=True,
        )
        name, notes = f"woocommerce-{release.version}", _notes(release)
        yield Product(
            archive=name, image=image, engine="woocommerce", version=release.version, notes=notes
        )


def _notes(release: Release) -> str:
    version, theme = release.plugin.version, release.theme
    return (
        f"WooCommerce {version} on PHP {wordpress.PHP} and MariaDB; revision {theme} of our theme."
    )


def _insist(layer: Layer, releases: list[Release], cache: Cache) -> None:
    with cache.room() as room:
        unpack((layer,), room)
        there = wordpress.version_in(room)
    for release in releases:
        plugins.insist_on(release.plugin, wordpress=there, php=wordpress.PHP)


def shop(cache: Cache) -> Layer:
    """Our own part but for the theme: programs, WordPress's configuration, plugins that are always on, sample goods."""
    key = Key("woocommerce-shop").file(Path(__file__))
    for name in ("shop", "site", "goods"):
        key.tree(SHOP / name)
    if (known := cache.find("woocommerce-shop", key)) is not None:
        return known
    with cache.room() as room:
        root = room / "root"
        shutil.copytree(SHOP / "shop", root / HOME / "shop")
        shutil.copytree(
            SHOP / "goods", root / HOME / "shop/goods", ignore=shutil.ignore_patterns("*.svg")
        )
        shutil.copytree(SHOP / "site", root / wordpress.ROOT)
        (root / UPLOADS).mkdir()
        open_up(root)
        (root / UPLOADS).chmod(
            0o1777
        )  # where a volume will be; at build, and in a set-up, anybody's folder
        return cache.keep(root, name="woocommerce-shop", key=key)


def plugin(cache: Cache, given: Plugin) -> Layer:
    name = f"woocommerce-plugin-{given.version}"
    key = Key(name, LEFT_OUT).tree(given.folder)
    if (known := cache.find(name, key)) is not None:
        return known
    with cache.room() as room:
        root = room / "root"
        shutil.copytree(given.folder, root / PLUGIN, ignore=shutil.ignore_patterns(*LEFT_OUT))
        open_up(root)
        return cache.keep(root, name=name, key=key)


def theme(cache: Cache, revision: int) -> Layer:
    """The second revision is the first with some files in other words."""
    name = f"woocommerce-theme-{revision}"
    folders = [SHOP / "theme", SHOP / "theme-2"][:revision]
    key = Key(name)
    for folder in folders:
        key.tree(folder)
    if (known := cache.find(name, key)) is not None:
        return known
    with cache.room() as room:
        root = room / "root"
        for folder in folders:
            shutil.copytree(folder, root / THEME, dirs_exist_ok=True)
        open_up(root)
        return cache.keep(root, name=name, key=key)


def template(cache: Cache, given: Plugin, below: tuple[Layer, ...]) -> Layer:
    """What the shop makes of itself at build: its database's files, its pictures, its code compiled."""
    name = f"woocommerce-template-{given.version}"
    parts = (*below, theme(cache, 1))
    key = Key(name).file(Path(__file__))
    for layer in parts:
        key.layer(layer)
    if (known := cache.find(name, key)) is not None:
        return known
    variables = {**ENVIRONMENT, "STORE_BAKE_FOLDER": "/output", "STORE_RELEASE": "template"}
    with cache.room() as room:
        command = (f"/{HOME}/shop/bin/store", "bake")
        what = f"the shop's template could not be made with WooCommerce {given.version}"
        root = debian.run_inside(parts, room, command, what=what, env=variables, cache=cache)
        target = room / "layer" / HOME
        for folder in ("database", "uploads"):
            shutil.copytree(root / "output" / folder, target / "template" / folder)
        _keep_compiled(root / "output/compiled", target / "compiled")
        open_up(room / "layer")
        return cache.keep(room / "layer", name=name, key=key)


def _keep_compiled(source: Path, target: Path) -> None:
    """All but the theme's, of which an image may have the other revision."""
    own = re.compile(r"/themes/storefleet/")
    shutil.copytree(source, target)
    for path in list(target.rglob("*.bin")):
        if own.search(str(path)):
            path.unlink()
