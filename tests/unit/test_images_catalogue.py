"""The catalogue of engine versions with an image, after builds of all, some or no images."""

import json
from pathlib import Path
from typing import Any

from tools.images import catalogue
from tools.images.oci import Image, Layer, write_archive
from tools.images.products import ImageProduct


def product(folder: Path, version: str, *, engine: str = "shop") -> ImageProduct:
    """Make a version whose archive is in the folder."""
    content = folder / "layer"
    content.write_bytes(b"content")
    layer = Layer("layer", content, "sha256:1", "sha256:2", 7, 7)
    image = Image(
        reference=f"docker.io/storefleet/{engine}:{version}",
        layers=(layer,),
        entrypoint=(),
        command=(),
        user="1:1",
        working_directory="/",
    )
    write_archive(image, folder / f"{engine}-{version}.oci.tar")
    return ImageProduct(
        archive_name=f"{engine}-{version}",
        image=image,
        engine=engine,
        version=version,
        notes=f"Notes {version}",
    )


def written(folder: Path) -> Any:
    return json.loads((folder / "catalogue.json").read_text())


def versions(folder: Path, engine: str = "shop") -> list[str]:
    return [version["version"] for version in written(folder)[engine]["versions"]]


def test_update_catalogue_first_version_is_default(tmp_path: Path) -> None:
    catalogue.update_catalogue(tmp_path, [product(tmp_path, "2.0"), product(tmp_path, "1.0")])
    assert written(tmp_path) == {
        "shop": {
            "default_version": "2.0",
            "versions": [
                {"version": "2.0", "image": "storefleet/shop:2.0", "notes": "Notes 2.0"},
                {"version": "1.0", "image": "storefleet/shop:1.0", "notes": "Notes 1.0"},
            ],
        }
    }


def test_update_catalogue_skips_image_without_engine(tmp_path: Path) -> None:
    catalogue.update_catalogue(tmp_path, [product(tmp_path, "1", engine="")])
    assert written(tmp_path) == {}


def test_update_catalogue_appends_earlier_versions(tmp_path: Path) -> None:
    catalogue.update_catalogue(tmp_path, [product(tmp_path, "1.0"), product(tmp_path, "1.1")])
    catalogue.update_catalogue(tmp_path, [product(tmp_path, "9", engine="other")])
    assert versions(tmp_path) == ["1.0", "1.1"]
    catalogue.update_catalogue(tmp_path, [product(tmp_path, "2.0"), product(tmp_path, "1.1")])
    assert versions(tmp_path) == ["2.0", "1.1", "1.0"]
    assert written(tmp_path)["shop"]["default_version"] == "2.0"


def test_update_catalogue_drops_versions_without_archive(tmp_path: Path) -> None:
    catalogue.update_catalogue(tmp_path, [product(tmp_path, "1.0"), product(tmp_path, "1.1")])
    (tmp_path / "shop-1.0.oci.tar").write_bytes(b"half of it")
    catalogue.update_catalogue(tmp_path, [])
    assert versions(tmp_path) == ["1.1"]
    assert written(tmp_path)["shop"]["default_version"] == "1.1"
    (tmp_path / "shop-1.1.oci.tar").unlink()
    catalogue.update_catalogue(tmp_path, [])
    assert written(tmp_path) == {}


def test_update_catalogue_replaces_unreadable_file(tmp_path: Path) -> None:
    for broken in ("", "[]", '{"shop": 1}', '{"shop": {"default_version": "1", "versions": [{}]}}'):
        (tmp_path / "catalogue.json").write_text(broken)
        catalogue.update_catalogue(tmp_path, [product(tmp_path, "1.0")])
        assert versions(tmp_path) == ["1.0"]
