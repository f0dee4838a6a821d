"""Write catalogue.json: the engine versions that have an image.

`make deploy` passes the file to the platform, which offers only the versions in it. Both image
builds write it: tools/build-images merges it with earlier builds, tools/docker-images replaces it.
"""

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tools.images.oci import open_atomically, read_reference
from tools.images.products import REGISTRY, ImageProduct, make_short_name

FILE_NAME = "catalogue.json"
VERSION_FIELDS = ("version", "image", "notes")
#: Engine name → {"default_version": …, "versions": [{"version", "image", "notes"}, …]}.
Engines = dict[str, dict[str, Any]]


class CatalogueEntry(NamedTuple):
    """A version of an engine and the image that holds it."""

    engine: str
    version: str
    image: str
    notes: str


def make_catalogue(entries: Iterable[CatalogueEntry]) -> Engines:
    """Group entries by engine; the first version of an engine is the default for new stores."""
    engines: Engines = {}
    for entry in entries:
        engine = engines.setdefault(
            entry.engine, {"default_version": entry.version, "versions": []}
        )
        engine["versions"].append({field: getattr(entry, field) for field in VERSION_FIELDS})
    return engines


def write_catalogue(folder: Path, engines: Engines) -> Path:
    """Replace the catalogue in `folder`; return its path."""
    target = folder / FILE_NAME
    with open_atomically(target) as file:
        file.write(json.dumps(engines, indent=2, sort_keys=True).encode() + b"\n")
    return target


def update_catalogue(folder: Path, products: Iterable[ImageProduct]) -> Path:
    """Write the versions built now, followed by earlier ones whose archive is still in `folder`."""
    engines, images = make_catalogue(_list_entries(products)), _list_archived_images(folder)
    for name, before in _read_catalogue(folder / FILE_NAME).items():
        now = engines.setdefault(
            name, {"default_version": before["default_version"], "versions": []}
        )
        known = {version["version"] for version in now["versions"]}
        now["versions"] += [each for each in before["versions"] if each["version"] not in known]
    for name, engine in list(engines.items()):
        engine["versions"] = [each for each in engine["versions"] if each["image"] in images]
        available = [each["version"] for each in engine["versions"]]
        if not available:
            del engines[name]
        elif engine["default_version"] not in available:
            engine["default_version"] = available[0]
    return write_catalogue(folder, engines)


def _list_entries(products: Iterable[ImageProduct]) -> list[CatalogueEntry]:
    return [
        CatalogueEntry(
            product.engine, product.version, make_short_name(product.image), product.notes
        )
        for product in products
        if product.engine
    ]


def _list_archived_images(folder: Path) -> set[str]:
    found = set()
    for archive in folder.glob("*.oci.tar"):
        try:
            found.add(read_reference(archive).removeprefix(f"{REGISTRY}/"))
        except (OSError, tarfile.TarError, KeyError, ValueError):
            continue  # a truncated archive holds no image
    return found


def _read_catalogue(path: Path) -> Engines:
    """Read the catalogue of an earlier build; return {} when it is missing or unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {
                "default_version": str(engine["default_version"]),
                "versions": [_select_fields(version) for version in engine["versions"]],
            }
            for name, engine in content.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _select_fields(version: dict[str, Any]) -> dict[str, str]:
    return {field: str(version[field]) for field in VERSION_FIELDS}
