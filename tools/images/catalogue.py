"""catalogue.json: which versions of which engines have an image, for the platform that is deployed beside them."""

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.images.oci import open_atomically, read_reference
from tools.images.products import REGISTRY, ImageProduct, make_short_name

FILE_NAME = "catalogue.json"
VERSION_FIELDS = ("version", "image", "notes")
Engines = dict[str, dict[str, Any]]


def update_catalogue(folder: Path, products: Iterable[ImageProduct]) -> Path:
    """Write what was made now and, behind it, what was made before and still lies in the folder."""
    target = folder / FILE_NAME
    engines, images = _group_by_engine(products), _list_archived_images(folder)
    for name, before in _read_catalogue(target).items():
        now = engines.setdefault(
            name, {"default_version": before["default_version"], "versions": []}
        )
        known = {version["version"] for version in now["versions"]}
        now["versions"] += [each for each in before["versions"] if each["version"] not in known]
    for name, engine in list(engines.items()):
        engine["versions"] = [each for each in engine["versions"] if each["image"] in images]
        there = [each["version"] for each in engine["versions"]]
        if not there:
            del engines[name]
        elif engine["default_version"] not in there:
            engine["default_version"] = there[0]
    with open_atomically(target) as file:
        file.write(json.dumps(engines, indent=2, sort_keys=True).encode() + b"\n")
    return target


def _group_by_engine(products: Iterable[ImageProduct]) -> Engines:
    """The first version of an engine is what new stores get."""
    engines: Engines = {}
    for product in products:
        if product.engine:
            engine = engines.setdefault(
                product.engine, {"default_version": product.version, "versions": []}
            )
            image = make_short_name(product.image)
            engine["versions"].append(
                {"version": product.version, "image": image, "notes": product.notes}
            )
    return engines


def _list_archived_images(folder: Path) -> set[str]:
    found = set()
    for archive in folder.glob("*.oci.tar"):
        try:
            found.add(read_reference(archive).removeprefix(f"{REGISTRY}/"))
        except (OSError, tarfile.TarError, KeyError, ValueError):
            continue  # half an archive holds no image
    return found


def _read_catalogue(path: Path) -> Engines:
    """What an earlier build wrote; nothing, where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {
                "default_version": str(engine["default_version"]),
                "versions": [
                    {field: str(version[field]) for field in VERSION_FIELDS}
                    for version in engine["versions"]
                ],
            }
            for name, engine in content.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
