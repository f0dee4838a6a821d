"""Build the layers below every WooCommerce store: Debian with PHP and MariaDB, and WordPress."""

import re
import shutil
from pathlib import Path

from tools.images import debian, mirrors
from tools.images.cache import CacheKey, LayerCache
from tools.images.debian import RootFilesystem
from tools.images.errors import BuildError
from tools.images.layers import normalise_modes
from tools.images.oci import Layer, walk_sorted

PHP_VERSION = "8.4"
PHP_EXTENSIONS = ("curl", "gd", "mbstring", "mysql", "xml", "zip")
SYSTEM = RootFilesystem(
    name="woocommerce-system",
    suite="trixie",
    packages=(
        "apache2-bin",
        f"libapache2-mod-php{PHP_VERSION}",
        f"php{PHP_VERSION}-cli",
        *(f"php{PHP_VERSION}-{extension}" for extension in PHP_EXTENSIONS),
        "mariadb-server-core",
        "mariadb-client",
        "dumb-init",
        "ca-certificates",
        "media-types",
        "tzdata",
    ),
    # Perl is used by command-line tools of MariaDB and by package scripts only; the rest are other
    # languages and X11 images.
    removed_paths=(
        "usr/bin/perl*",
        "usr/share/perl*",
        "usr/lib/x86_64-linux-gnu/perl*",
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/x86_64-linux-gnu/libperl.so*",
        "usr/share/fonts",
        "usr/share/zsh",
        "usr/share/gdb",
        "usr/share/mariadb/[!cefm]*",
        "usr/share/mariadb/czech",
        "usr/share/mariadb/estonian",
        "usr/bin/mariadb-test*",
        "usr/share/X11",
        "usr/share/pixmaps",
        "usr/bin/aria_*",
        "usr/bin/myisam*",
    ),
)
SUITE = "sid"
#: WordPress and the packages that its symbolic links lead to; their files are unpacked only.
PACKAGES = (
    "wordpress",
    "libphp-phpmailer",
    "php-getid3",
    "libjs-cropper",
    "libjs-jquery-ui",
    "libjs-lodash",
    "libjs-underscore",
)
WORDPRESS_ROOT = Path("srv/wordpress")
#: Configuration of Debian, and documentation.
EXCLUDED = ("wp-config.php", "wp-config-sample.php", "readme.html", ".htaccess", "wp-content")
#: Links to these paths stay links: the certificates belong to the system layer.
KEPT_LINK_TARGETS = ("/etc/ssl/",)


def build_system_layer(cache: LayerCache) -> Layer:
    """Build the layer of Debian with Apache, PHP and MariaDB."""
    return debian.build_layer(SYSTEM, cache)


def build_wordpress_layer(cache: LayerCache) -> Layer:
    """Build the layer of WordPress from Debian sid.

    A cached layer keeps its version of WordPress until the cache is emptied.
    """
    key = CacheKey("wordpress", SUITE, PACKAGES, EXCLUDED).add_file(Path(__file__))
    if (known := cache.find_layer("wordpress", key)) is not None:
        return known
    with cache.create_work_folder() as work:
        packages = work / "packages"
        mirrors.unpack_packages(PACKAGES, SUITE, target=packages, work_folder=work, cache=cache)
        root = work / "root"
        target = root / WORDPRESS_ROOT
        target.parent.mkdir(parents=True)
        source = packages / "usr/share/wordpress"
        shutil.copytree(source, target, symlinks=True, ignore=_make_ignore(source))
        _resolve_links(target, packages)
        _remove_unminified_scripts(target / "wp-includes/js/dist")
        (target / "wp-content").mkdir()
        normalise_modes(root)
        return cache.store_layer(root, name="wordpress", key=key)


def read_version(layer_root: Path) -> str:
    """Read the version of WordPress in an unpacked layer."""
    text = (layer_root / WORDPRESS_ROOT / "wp-includes/version.php").read_text(encoding="utf-8")
    found = re.search(r"(?m)^\$wp_version = '([^']+)';", text)
    if found is None:
        raise BuildError(
            "The Debian package of WordPress has no version in wp-includes/version.php. "
            "Check the format of that file."
        )
    return found.group(1)


def _make_ignore(top: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the type that shutil.copytree expects
    return lambda folder, names: {
        name for name in names if Path(folder) == top and name in EXCLUDED
    }


def _resolve_links(target: Path, packages: Path) -> None:
    """Replace links to other packages by copies, because the image contains WordPress only."""
    for path in list(walk_sorted(target)):
        if not path.is_symlink():
            continue
        link = path.readlink()
        if str(link).startswith(KEPT_LINK_TARGETS):
            continue
        place = Path("/usr/share/wordpress") / path.relative_to(target).parent / link
        source = packages / str(place.parent.joinpath(place.name)).lstrip("/")
        if not source.resolve().is_file():
            raise BuildError(
                f"WordPress's {path.relative_to(target)} is a link to {link}, which no unpacked "
                "package contains. Add its Debian package to PACKAGES in tools/images/wordpress.py."
            )
        path.unlink()
        shutil.copyfile(source, path)


def _remove_unminified_scripts(folder: Path) -> None:
    """Remove scripts whose minified version exists; browsers load only that one."""
    for small in folder.rglob("*.min.js"):
        small.with_name(small.name.removesuffix(".min.js") + ".js").unlink(missing_ok=True)
