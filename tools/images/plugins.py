"""The folders of WooCommerce's built plugin that a build is given: looked at before anything is made of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.images.failure import BuildError
from tools.images.products import MaterialMissing

VARIABLE = "WOOCOMMERCE_DIRS"
MAIN_FILE = "woocommerce.php"
#: What the plugin's own build makes; its repository does not hold it.
BUILT_ENTRIES = (
    "vendor/autoload.php",
    "vendor/autoload_packages.php",
    "assets/client",
    "assets/css",
    "assets/js",
)
HEADER_BYTES = 8192  # bytes in which WordPress looks for it, too
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,3}(-[0-9A-Za-z.]+)?")
_OFFICIAL = (
    "unpack the zip file that woocommerce.com and wordpress.org offer, or take the folder "
    "wp-content/plugins/woocommerce of a WordPress"
)


@dataclass(frozen=True)
class Plugin:
    """One folder, and what its header says."""

    folder: Path
    version: str
    min_wordpress: str  # the oldest that it works with
    min_php: str


@dataclass(frozen=True)
class PluginRelease:
    """A version of the engine: which plugin, in which revision of our theme."""

    version: str
    plugin: Plugin
    theme_revision: int


def read_plugins(environment: Mapping[str, str]) -> list[Plugin]:
    """The plugins in the order given; raises Absent when none is, BuildError when one is none."""
    words = [word for word in environment.get(VARIABLE, "").split(":") if word.strip()]
    if not words:
        raise MaterialMissing(
            f"WooCommerce is in no package registry, so its plugin has to be given: {_OFFICIAL}, and build again with "
            f"{VARIABLE}=/path/to/woocommerce. Several folders, separated by colons, make as many versions of the "
            "engine; of a single one, a second revision of the theme makes a second version. The other engines do not "
            "need it."
        )
    return [read_plugin(Path(word).expanduser()) for word in words]


def list_releases(plugins: Sequence[Plugin]) -> list[PluginRelease]:
    """A version for each; the same plugin again, or a single one, comes with the theme's second revision, too."""
    if len(plugins) == 1:
        plugins = (*plugins, *plugins)
    made: dict[str, PluginRelease] = {}
    for plugin in plugins:
        theme = 1 if plugin.version not in made else 2
        version = plugin.version if theme == 1 else f"{plugin.version}-2"
        if version in made:
            raise BuildError(
                f"{VARIABLE} names WooCommerce {plugin.version} more than twice: name it once or twice."
            )
        made[version] = PluginRelease(version, plugin, theme)
    return list(made.values())


def read_plugin(path: Path) -> Plugin:
    """The plugin in a folder, or in its folder `woocommerce`; raises BuildError."""
    folder = next(
        (each for each in (path, path / "woocommerce") if (each / MAIN_FILE).is_file()), None
    )
    if folder is None:
        raise BuildError(
            f"{VARIABLE} names {path}, in which there is no {MAIN_FILE}: it has to be the plugin's folder or hold it as "
            f"`woocommerce`; {_OFFICIAL}."
        )
    header = (folder / MAIN_FILE).read_bytes()[:HEADER_BYTES].decode("utf-8", errors="replace")
    version = _read_header_field(header, "Version")
    if (
        _read_header_field(header, "Plugin Name") != "WooCommerce"
        or _VERSION.fullmatch(version) is None
    ):
        raise BuildError(
            f"{folder / MAIN_FILE} does not say that it is WooCommerce, and which version: {_OFFICIAL}."
        )
    if missing := [name for name in BUILT_ENTRIES if not (folder / name).exists()]:
        raise BuildError(
            f"{folder} is not WooCommerce as it is installed, for {', '.join(missing)} is not there: it is rather the "
            f"source, which would have to be built first; {_OFFICIAL}."
        )
    return Plugin(
        folder.resolve(),
        version,
        _read_header_field(header, "Requires at least") or "0",
        _read_header_field(header, "Requires PHP") or "0",
    )


def check_requirements(plugin: Plugin, *, wordpress: str, php: str) -> None:
    """Whether the image's WordPress and PHP are what the plugin asks for; raises BuildError."""
    for what, needed, there in (
        ("WordPress", plugin.min_wordpress, wordpress),
        ("PHP", plugin.min_php, php),
    ):
        if parse_version(there) < parse_version(needed):
            raise BuildError(
                f"WooCommerce {plugin.version} needs {what} {needed}, and there is {there} in Debian: give an older "
                "WooCommerce, or empty the cache of layers to get a newer WordPress."
            )


def parse_version(version: str) -> tuple[int, ...]:
    """Compared as versions are: 7.10 is more than 7.9, and 7.1 is 7.1.0."""
    found = [int(number) for number in re.findall(r"\d+", version.partition("-")[0])]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


def _read_header_field(header: str, name: str) -> str:
    match = re.search(rf"(?mi)^[ \t/*#@]*{re.escape(name)}:[ \t]*(.+?)[ \t]*$", header)
    return match.group(1) if match else ""
