"""Images of WooCommerce shops: one for each plugin that is given, with our theme and a shop to begin with."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.images import debian, plugins, wordpress
from tools.images.cache import CacheKey, LayerCache
from tools.images.layers import INSTALL_ROOT, ROOT, normalise_modes
from tools.images.oci import Layer, unpack_layers
from tools.images.plugins import Plugin, PluginRelease
from tools.images.products import BuildContext, ImageProduct, make_image

STORE_SOURCE = ROOT / "stores" / "woocommerce"
CONTENT = wordpress.WORDPRESS_ROOT / "wp-content"
PLUGIN = CONTENT / "plugins/woocommerce"
THEME = CONTENT / "themes/storefleet"
UPLOADS = CONTENT / "uploads"
ENTRYPOINT = ("/usr/bin/dumb-init", "--single-child", "--", f"/{INSTALL_ROOT}/shop/bin/store")
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder of a container that is writable
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PHPRC": f"/{INSTALL_ROOT}/shop/etc",
    "PHP_INI_SCAN_DIR": "",
    "STORE_WORKERS": "8",
    "TZ": "UTC",
}
#: For people who work on the plugin.
EXCLUDED = (".git*", "node_modules", "*.map", "*.scss", "*.pot", "sample-data", "tests")


def build_products(build: BuildContext) -> Iterable[ImageProduct]:
    """Raises Absent when there is no plugin; every folder is looked at before the first image is made."""
    releases = plugins.list_releases(plugins.read_plugins(build.environment))
    cache = build.cache
    below = (
        wordpress.build_system_layer(cache),
        wordpress.build_wordpress_layer(cache),
        build_store_layer(cache),
    )
    _check_plugins(below[1], releases, cache)
    for release in releases:
        code = (*below, build_plugin_layer(cache, release.plugin))
        parts = (
            *code,
            build_template_layer(cache, release.plugin, code),
            build_theme_layer(cache, release.theme_revision),
        )
        image = make_image(
            f"storefleet/woocommerce:{release.version}",
            parts,
            entrypoint=ENTRYPOINT,
            command=("web",),
            environment={**ENVIRONMENT, "STORE_RELEASE": release.version},
            plain=True,
        )
        name, notes = f"woocommerce-{release.version}", _make_notes(release)
        yield ImageProduct(
            archive_name=name,
            image=image,
            engine="woocommerce",
            version=release.version,
            notes=notes,
        )


def _make_notes(release: PluginRelease) -> str:
    version, theme = release.plugin.version, release.theme_revision
    return f"WooCommerce {version} on PHP {wordpress.PHP_VERSION} and MariaDB; revision {theme} of our theme."


def _check_plugins(layer: Layer, releases: list[PluginRelease], cache: LayerCache) -> None:
    with cache.create_work_folder() as room:
        unpack_layers((layer,), room)
        there = wordpress.read_version(room)
    for release in releases:
        plugins.check_requirements(release.plugin, wordpress=there, php=wordpress.PHP_VERSION)


def build_store_layer(cache: LayerCache) -> Layer:
    """Our own part but for the theme: programs, WordPress's configuration, plugins that are always on, sample goods."""
    key = CacheKey("woocommerce-shop").add_file(Path(__file__))
    for name in ("shop", "site", "goods"):
        key.add_tree(STORE_SOURCE / name)
    if (known := cache.find_layer("woocommerce-shop", key)) is not None:
        return known
    with cache.create_work_folder() as room:
        root = room / "root"
        shutil.copytree(STORE_SOURCE / "shop", root / INSTALL_ROOT / "shop")
        shutil.copytree(
            STORE_SOURCE / "goods",
            root / INSTALL_ROOT / "shop/goods",
            ignore=shutil.ignore_patterns("*.svg"),
        )
        shutil.copytree(STORE_SOURCE / "site", root / wordpress.WORDPRESS_ROOT)
        (root / UPLOADS).mkdir()
        normalise_modes(root)
        (root / UPLOADS).chmod(
            0o1777
        )  # where a volume will be; at build, and in a set-up, anybody's folder
        return cache.store_layer(root, name="woocommerce-shop", key=key)


def build_plugin_layer(cache: LayerCache, given: Plugin) -> Layer:
    name = f"woocommerce-plugin-{given.version}"
    key = CacheKey(name, EXCLUDED).add_tree(given.folder)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as room:
        root = room / "root"
        shutil.copytree(given.folder, root / PLUGIN, ignore=shutil.ignore_patterns(*EXCLUDED))
        normalise_modes(root)
        return cache.store_layer(root, name=name, key=key)


def build_theme_layer(cache: LayerCache, revision: int) -> Layer:
    """The second revision is the first with some files in other words."""
    name = f"woocommerce-theme-{revision}"
    folders = [STORE_SOURCE / "theme", STORE_SOURCE / "theme-2"][:revision]
    key = CacheKey(name)
    for folder in folders:
        key.add_tree(folder)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as room:
        root = room / "root"
        for folder in folders:
            shutil.copytree(folder, root / THEME, dirs_exist_ok=True)
        normalise_modes(root)
        return cache.store_layer(root, name=name, key=key)


def build_template_layer(cache: LayerCache, given: Plugin, below: tuple[Layer, ...]) -> Layer:
    """What the shop makes of itself at build: its database's files, its pictures, its code compiled."""
    name = f"woocommerce-template-{given.version}"
    parts = (*below, build_theme_layer(cache, 1))
    key = CacheKey(name).add_file(Path(__file__))
    for layer in parts:
        key.add_layer(layer)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    variables = {**ENVIRONMENT, "STORE_BAKE_FOLDER": "/output", "STORE_RELEASE": "template"}
    with cache.create_work_folder() as room:
        command = (f"/{INSTALL_ROOT}/shop/bin/store", "bake")
        what = f"the shop's template could not be made with WooCommerce {given.version}"
        root = debian.run_in_layers(
            parts, room, command, failure=what, environment=variables, cache=cache
        )
        target = room / "layer" / INSTALL_ROOT
        for folder in ("database", "uploads"):
            shutil.copytree(root / "output" / folder, target / "template" / folder)
        _copy_compiled(root / "output/compiled", target / "compiled")
        normalise_modes(room / "layer")
        return cache.store_layer(room / "layer", name=name, key=key)


def _copy_compiled(source: Path, target: Path) -> None:
    """All but the theme's, of which an image may have the other revision."""
    own = re.compile(r"/themes/storefleet/")
    shutil.copytree(source, target)
    for path in list(target.rglob("*.bin")):
        if own.search(str(path)):
            path.unlink()
