"""The plugin folders of a build: accepted, rejected, and the versions that they give."""

from pathlib import Path

import pytest

from tools.images import plugins
from tools.images.errors import BuildError, MaterialMissing


def plugin(
    folder: Path, version: str = "11.0.1", *, wordpress: str = "6.9", name: str = "WooCommerce"
) -> Path:
    """Create a folder that looks like an installed WooCommerce."""
    for built in plugins.BUILT_ENTRIES:
        (folder / built).parent.mkdir(parents=True, exist_ok=True)
        (folder / built).write_text("") if built.endswith(".php") else (folder / built).mkdir()
    header = (
        f" * Plugin Name: {name}\n * Version: {version}\n"
        f" * Requires at least: {wordpress}\n * Requires PHP: 7.4\n"
    )
    (folder / "woocommerce.php").write_text(f"<?php\n/**\n{header} */\n")
    return folder


def given(*folders: Path) -> list[plugins.Plugin]:
    return plugins.read_plugins({"WOOCOMMERCE_DIRS": ":".join(map(str, folders))})


def versions(*folders: Path) -> list[tuple[str, int]]:
    return [
        (release.version, release.theme_revision)
        for release in plugins.list_releases(given(*folders))
    ]


@pytest.mark.parametrize("environment", [{}, {"WOOCOMMERCE_DIRS": ""}, {"WOOCOMMERCE_DIRS": " : "}])
def test_read_plugins_without_folders_explains_variable(
    environment: dict[str, str],
) -> None:
    with pytest.raises(MaterialMissing, match=r"WOOCOMMERCE_DIRS=/path/to/woocommerce"):
        plugins.read_plugins(environment)


def test_read_plugins_accepts_plugin_or_parent_folder(tmp_path: Path) -> None:
    inner = plugin(tmp_path / "unpacked" / "woocommerce", "10.4.2")
    assert [found.folder for found in given(tmp_path / "unpacked", inner)] == [inner, inner]
    (found,) = given(inner)
    assert (found.version, found.min_wordpress, found.min_php) == ("10.4.2", "6.9", "7.4")


def test_list_releases_keeps_order_of_folders(tmp_path: Path) -> None:
    new, old = plugin(tmp_path / "new", "11.0.1"), plugin(tmp_path / "old", "10.9.0-rc.1")
    assert versions(new, old) == [("11.0.1", 1), ("10.9.0-rc.1", 1)]


def test_list_releases_single_or_repeated_plugin_gets_theme_revision_2(
    tmp_path: Path,
) -> None:
    one, two = plugin(tmp_path / "one"), plugin(tmp_path / "two")
    assert versions(one) == [("11.0.1", 1), ("11.0.1-2", 2)]
    assert versions(one, two) == [("11.0.1", 1), ("11.0.1-2", 2)]
    with pytest.raises(BuildError, match="more than twice"):
        versions(one, two, one)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "WooCommerce Shipping"}, "does not name WooCommerce"),
        ({"version": "../11"}, "and a version"),
        ({"version": ""}, "and a version"),
    ],
)
def test_read_plugins_other_plugin_is_rejected(
    tmp_path: Path, fields: dict[str, str], words: str
) -> None:
    with pytest.raises(BuildError, match=words):
        given(plugin(tmp_path / "given", **fields))


@pytest.mark.parametrize("missing", ["assets/client", "assets/css", "vendor/autoload.php"])
def test_read_plugins_source_checkout_is_rejected(tmp_path: Path, missing: str) -> None:
    path = plugin(tmp_path / "given") / missing
    path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(
        BuildError, match=rf"{missing} is missing. It is probably the source.*woocommerce\.com"
    ):
        given(tmp_path / "given")


def test_read_plugins_missing_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"names .*/nowhere, which contains no"):
        given(tmp_path / "nowhere")


def test_check_requirements_older_wordpress_or_php_fails(tmp_path: Path) -> None:
    (found,) = given(plugin(tmp_path / "given", wordpress="7.10"))
    plugins.check_requirements(found, wordpress="7.10", php="8.4")
    plugins.check_requirements(found, wordpress="7.10.2", php="8.4")
    with pytest.raises(BuildError, match=r"needs WordPress 7\.10, but Debian has 7\.9\.1"):
        plugins.check_requirements(found, wordpress="7.9.1", php="8.4")
    with pytest.raises(BuildError, match=r"needs PHP 7\.4, but Debian has 7\.3"):
        plugins.check_requirements(found, wordpress="8", php="7.3")


def test_parse_version_compares_numerically() -> None:
    assert plugins.parse_version("7.10") > plugins.parse_version("7.9.9")
    assert plugins.parse_version("7.1") == plugins.parse_version("7.1.0")
    assert plugins.parse_version("7.2-beta1") == (7, 2)
