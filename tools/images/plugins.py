"""Read and check the WooCommerce plugin folders that WOOCOMMERCE_DIRS names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.images.errors import BuildError, MaterialMissing

VARIABLE = "WOOCOMMERCE_DIRS"
MAIN_FILE = "woocommerce.php"
#: Created by the plugin's own build; its source repository does not contain them.
BUILT_ENTRIES = (
    "vendor/autoload.php",
    "vendor/autoload_packages.php",
    "assets/client",
    "assets/css",
    "assets/js",
)
HEADER_BYTES = 8192  # the part of the file that WordPress reads, too
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,3}(-[0-9A-Za-z.]+)?")
_OFFICIAL = (
    "unpack the zip file from woocommerce.com or wordpress.org, or use the folder "
    "wp-content/plugins/woocommerce of a WordPress installation"
)


@dataclass(frozen=True)
class Plugin:
    """A plugin folder and the fields of its header."""

    folder: Path
    version: str
    min_wordpress: str
    min_php: str


@dataclass(frozen=True)
class PluginRelease:
    """A version of the engine: a plugin with a revision of the Storefleet theme."""

    version: str
    plugin: Plugin
    theme_revision: int


def read_plugins(environment: Mapping[str, str]) -> list[Plugin]:
    """Read the plugins in the order of WOOCOMMERCE_DIRS.

    Raises MaterialMissing when the variable is empty and BuildError when a folder is no plugin.
    """
    words = [word for word in environment.get(VARIABLE, "").split(":") if word.strip()]
    if not words:
        raise MaterialMissing(
            "WooCommerce is in no package registry, so you provide its plugin: "
            f"{_OFFICIAL}, and build again with {VARIABLE}=/path/to/woocommerce. Several folders, "
            "separated by colons, give as many versions of the engine; a single one gives two, "
            "with both revisions of the theme. The other engines do not need it."
        )
    return [read_plugin(Path(word).expanduser()) for word in words]


def list_releases(plugins: Sequence[Plugin]) -> list[PluginRelease]:
    """List one version per plugin; a repeated or single plugin also gets the theme's revision 2."""
    if len(plugins) == 1:
        plugins = (*plugins, *plugins)
    made: dict[str, PluginRelease] = {}
    for plugin in plugins:
        theme = 1 if plugin.version not in made else 2
        version = plugin.version if theme == 1 else f"{plugin.version}-2"
        if version in made:
            raise BuildError(
                f"{VARIABLE} names WooCommerce {plugin.version} more than twice. "
                "Name it once or twice."
            )
        made[version] = PluginRelease(version, plugin, theme)
    return list(made.values())


def read_plugin(path: Path) -> Plugin:
    """Read the plugin in a folder or in its subfolder `woocommerce`; raise BuildError otherwise."""
    folder = next(
        (each for each in (path, path / "woocommerce") if (each / MAIN_FILE).is_file()), None
    )
    if folder is None:
        raise BuildError(
            f"{VARIABLE} names {path}, which contains no {MAIN_FILE}. It must be the plugin's "
            f"folder or contain it as `woocommerce`: {_OFFICIAL}."
        )
    header = (folder / MAIN_FILE).read_bytes()[:HEADER_BYTES].decode("utf-8", errors="replace")
    version = _read_header_field(header, "Version")
    if (
        _read_header_field(header, "Plugin Name") != "WooCommerce"
        or _VERSION.fullmatch(version) is None
    ):
        raise BuildError(
            f"The header of {folder / MAIN_FILE} does not name WooCommerce and a version. "
            f"To get the plugin, {_OFFICIAL}."
        )
    if missing := [name for name in BUILT_ENTRIES if not (folder / name).exists()]:
        raise BuildError(
            f"{folder} is not an installed WooCommerce: {', '.join(missing)} is missing. It is "
            f"probably the source, which has to be built first. To get the plugin, {_OFFICIAL}."
        )
    return Plugin(
        folder.resolve(),
        version,
        _read_header_field(header, "Requires at least") or "0",
        _read_header_field(header, "Requires PHP") or "0",
    )


def check_requirements(plugin: Plugin, *, wordpress: str, php: str) -> None:
    """Raise BuildError when the image's WordPress or PHP is older than the plugin requires."""
    for component, needed, available in (
        ("WordPress", plugin.min_wordpress, wordpress),
        ("PHP", plugin.min_php, php),
    ):
        if parse_version(available) < parse_version(needed):
            raise BuildError(
                f"WooCommerce {plugin.version} needs {component} {needed}, but Debian has "
                f"{available}. Give an older WooCommerce, or empty the cache of layers to get a "
                "newer WordPress."
            )


def parse_version(version: str) -> tuple[int, ...]:
    """Parse a version for comparison: 7.10 is greater than 7.9, and 7.1 equals 7.1.0."""
    found = [int(number) for number in re.findall(r"\d+", version.partition("-")[0])]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


def _read_header_field(header: str, name: str) -> str:
    match = re.search(rf"(?mi)^[ \t/*#@]*{re.escape(name)}:[ \t]*(.+?)[ \t]*$", header)
    return match.group(1) if match else ""
