"""What is below every WooCommerce shop: Debian with Apache, PHP and MariaDB, and WordPress out of Debian sid."""

import re
import shutil
from pathlib import Path

from tools.images import debian, mirrors
from tools.images.cache import Cache, Key
from tools.images.debian import System
from tools.images.failure import BuildError
from tools.images.layers import open_up
from tools.images.oci import Layer, walk

PHP = "8.4"
EXTENSIONS = ("curl", "gd", "mbstring", "mysql", "xml", "zip")
SYSTEM = System(
    name="woocommerce-system",
    suite="trixie",
    packages=(
        *("apache2-bin", f"libapache2-mod-php{PHP}", f"php{PHP}-cli"),
        *(f"php{PHP}-{extension}" for extension in EXTENSIONS),
        *(
            "mariadb-server-core",
            "mariadb-client",
            "dumb-init",
            "ca-certificates",
            "media-types",
            "tzdata",
        ),
    ),
    # Perl is only for the command lines of MariaDB and of packages; the rest are other languages and pictures of X11.
    removed=(
        *(
            "usr/bin/perl*",
            "usr/share/perl*",
            "usr/lib/x86_64-linux-gnu/perl*",
            "usr/lib/x86_64-linux-gnu/gconv",
        ),
        *(
            "usr/lib/x86_64-linux-gnu/libperl.so*",
            "usr/share/fonts",
            "usr/share/zsh",
            "usr/share/gdb",
        ),
        *(
            "usr/share/mariadb/[!cefm]*",
            "usr/share/mariadb/czech",
            "usr/share/mariadb/estonian",
            "usr/bin/mariadb-test*",
        ),
        *("usr/share/X11", "usr/share/pixmaps", "usr/bin/aria_*", "usr/bin/myisam*"),
    ),
)
SUITE = "sid"
#: WordPress links into these; they are arch-independent files, and nothing of them is set up.
PACKAGES = (
    *("wordpress", "libphp-phpmailer", "php-getid3"),
    *("libjs-cropper", "libjs-jquery-ui", "libjs-lodash", "libjs-underscore"),
)
ROOT = Path("srv/wordpress")
#: Debian's own configuration, and what is only for people.
LEFT_OUT = ("wp-config.php", "wp-config-sample.php", "readme.html", ".htaccess", "wp-content")
#: What a link may lead to outside of WordPress: the certificates are the system's.
STAYS = ("/etc/ssl/",)


def system(cache: Cache) -> Layer:
    return debian.layer_of(SYSTEM, cache)


def wordpress(cache: Cache) -> Layer:
    """WordPress's own files; a cached layer stays at its version until the cache is emptied."""
    key = Key("wordpress", SUITE, PACKAGES, LEFT_OUT).file(Path(__file__))
    if (known := cache.find("wordpress", key)) is not None:
        return known
    with cache.room() as room:
        packages = room / "packages"
        mirrors.fetch(PACKAGES, SUITE, target=packages, room=room, cache=cache)
        root = room / "root"
        target = root / ROOT
        target.parent.mkdir(parents=True)
        source = packages / "usr/share/wordpress"
        shutil.copytree(source, target, symlinks=True, ignore=_left_out(source))
        _resolve_links(target, packages)
        _remove_readable_scripts(target / "wp-includes/js/dist")
        (target / "wp-content").mkdir()
        open_up(root)
        return cache.keep(root, name="wordpress", key=key)


def version_in(layer_root: Path) -> str:
    """The version of WordPress in an unpacked layer."""
    text = (layer_root / ROOT / "wp-includes/version.php").read_text(encoding="utf-8")
    found = re.search(r"(?m)^\$wp_version = '([^']+)';", text)
    if found is None:
        raise BuildError(
            "Debian's package of WordPress does not name its version: look at wp-includes/version.php."
        )
    return found.group(1)


def _left_out(top: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as shutil.copytree wants it
    return lambda folder, names: {
        name for name in names if Path(folder) == top and name in LEFT_OUT
    }


def _resolve_links(target: Path, packages: Path) -> None:
    """In the image, WordPress stands alone: what it links to is copied to where the link was."""
    for path in list(walk(target)):
        if not path.is_symlink():
            continue
        link = path.readlink()
        if str(link).startswith(STAYS):
            continue
        place = Path("/usr/share/wordpress") / path.relative_to(target).parent / link
        source = packages / str(place.parent.joinpath(place.name)).lstrip("/")
        if not source.resolve().is_file():
            raise BuildError(
                f"WordPress's {path.relative_to(target)} is a link to {link}, which none of the packages brings that "
                "are unpacked for it: add Debian's package of it to PACKAGES in tools/images/wordpress.py."
            )
        path.unlink()
        shutil.copyfile(source, path)


def _remove_readable_scripts(folder: Path) -> None:
    """Browsers are given the minified one that lies beside it."""
    for small in folder.rglob("*.min.js"):
        small.with_name(small.name.removesuffix(".min.js") + ".js").unlink(missing_ok=True)
