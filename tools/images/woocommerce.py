"""Build the images of the engine WooCommerce, one for each plugin that WOOCOMMERCE_DIRS names.

Layers, from below: Debian with Apache, PHP and MariaDB; WordPress; the store's programs; the
plugin; the template that the store creates inside the image; the theme.
"""

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
    "HOME": "/tmp",  # noqa: S108 - the only writable folder of a container
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PHPRC": f"/{INSTALL_ROOT}/shop/etc",
    "PHP_INI_SCAN_DIR": "",
    "STORE_WORKERS": "8",
    "TZ": "UTC",
}
#: Files for developers of the plugin.
EXCLUDED = (".git*", "node_modules", "*.map", "*.scss", "*.pot", "sample-data", "tests")


def build_products(build: BuildContext) -> Iterable[ImageProduct]:
    """Build the images; check every plugin folder before the first one. Raises MaterialMissing."""
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
    return (
        f"WooCommerce {version} on PHP {wordpress.PHP_VERSION} and MariaDB; "
        f"revision {theme} of the Storefleet theme."
    )


def _check_plugins(layer: Layer, releases: list[PluginRelease], cache: LayerCache) -> None:
    with cache.create_work_folder() as work:
        unpack_layers((layer,), work)
        version = wordpress.read_version(work)
    for release in releases:
        plugins.check_requirements(release.plugin, wordpress=version, php=wordpress.PHP_VERSION)


def build_store_layer(cache: LayerCache) -> Layer:
    """Build the layer of programs, configuration, must-use plugins and sample products."""
    key = CacheKey("woocommerce-shop").add_file(Path(__file__))
    for name in ("shop", "site", "goods"):
        key.add_tree(STORE_SOURCE / name)
    if (known := cache.find_layer("woocommerce-shop", key)) is not None:
        return known
    with cache.create_work_folder() as work:
        root = work / "root"
        shutil.copytree(STORE_SOURCE / "shop", root / INSTALL_ROOT / "shop")
        shutil.copytree(
            STORE_SOURCE / "goods",
            root / INSTALL_ROOT / "shop/goods",
            ignore=shutil.ignore_patterns("*.svg"),
        )
        shutil.copytree(STORE_SOURCE / "site", root / wordpress.WORDPRESS_ROOT)
        (root / UPLOADS).mkdir()
        normalise_modes(root)
        # A volume is mounted here; without one (build, set-up) every user must be able to write.
        (root / UPLOADS).chmod(0o1777)
        return cache.store_layer(root, name="woocommerce-shop", key=key)


def build_plugin_layer(cache: LayerCache, given: Plugin) -> Layer:
    """Build the layer of the plugin."""
    name = f"woocommerce-plugin-{given.version}"
    key = CacheKey(name, EXCLUDED).add_tree(given.folder)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as work:
        root = work / "root"
        shutil.copytree(given.folder, root / PLUGIN, ignore=shutil.ignore_patterns(*EXCLUDED))
        normalise_modes(root)
        return cache.store_layer(root, name=name, key=key)


def build_theme_layer(cache: LayerCache, revision: int) -> Layer:
    """Build the layer of the theme; revision 2 is revision 1 with some files replaced."""
    name = f"woocommerce-theme-{revision}"
    folders = [STORE_SOURCE / "theme", STORE_SOURCE / "theme-2"][:revision]
    key = CacheKey(name)
    for folder in folders:
        key.add_tree(folder)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    with cache.create_work_folder() as work:
        root = work / "root"
        for folder in folders:
            shutil.copytree(folder, root / THEME, dirs_exist_ok=True)
        normalise_modes(root)
        return cache.store_layer(root, name=name, key=key)


def build_template_layer(cache: LayerCache, given: Plugin, below: tuple[Layer, ...]) -> Layer:
    """Run the store inside the layers below to create its database, images and compiled code."""
    name = f"woocommerce-template-{given.version}"
    parts = (*below, build_theme_layer(cache, 1))
    key = CacheKey(name).add_file(Path(__file__))
    for layer in parts:
        key.add_layer(layer)
    if (known := cache.find_layer(name, key)) is not None:
        return known
    variables = {**ENVIRONMENT, "STORE_BAKE_FOLDER": "/output", "STORE_RELEASE": "template"}
    with cache.create_work_folder() as work:
        command = (f"/{INSTALL_ROOT}/shop/bin/store", "bake")
        failure = f"The template of WooCommerce {given.version} could not be created"
        root = debian.run_in_layers(
            parts, work, command, failure=failure, environment=variables, cache=cache
        )
        target = work / "layer" / INSTALL_ROOT
        for folder in ("database", "uploads"):
            shutil.copytree(root / "output" / folder, target / "template" / folder)
        _copy_compiled(root / "output/compiled", target / "compiled")
        normalise_modes(work / "layer")
        return cache.store_layer(work / "layer", name=name, key=key)


def _copy_compiled(source: Path, target: Path) -> None:
    """Copy the compiled code without that of the theme, whose revision differs between images."""
    theme_path = re.compile(r"/themes/storefleet/")
    shutil.copytree(source, target)
    for path in list(target.rglob("*.bin")):
        if theme_path.search(str(path)):
            path.unlink()
