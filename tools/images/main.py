"""The command line of tools/build-images: select images, build them, report their sizes."""

import argparse
import os
import sys
import tarfile
import textwrap
import time
from pathlib import Path

from tools.images import catalogue, medusa, oscar, platform, woocommerce
from tools.images.cache import LayerCache
from tools.images.errors import BuildError, MaterialMissing
from tools.images.oci import (
    NAME_ANNOTATION,
    Image,
    compute_image_digest,
    make_blob_name,
    read_index_entry,
    write_archive,
)
from tools.images.products import BuildContext, ImageProduct, Recipe

MIB = 1 << 20
#: A module for a further engine is added here.
RECIPES: dict[str, Recipe] = {
    "platform": platform.build_products,
    "medusa": medusa.build_products,
    "oscar": oscar.build_products,
    "woocommerce": woocommerce.build_products,
}


def main() -> int:
    """Build the requested images and update the catalogue; return the exit status."""
    options = _parse_options()
    try:
        _check_root_and_python()
        cache = LayerCache.for_current_user()
        build = BuildContext(cache=cache, helm=options.helm, environment=os.environ)
        with cache.hold_lock():
            made = _build_products(build, options)
            catalogue.update_catalogue(options.output, made)
    except BuildError as error:
        print(f"build-images: {error}", file=sys.stderr)
        return 1
    return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build-images", description="Build container images without a container engine."
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for NAME.oci.tar"
    )
    parser.add_argument(
        "--helm", type=Path, metavar="PATH", help="the Helm 4 program, for the platform's image"
    )
    parser.add_argument("images", nargs="*", metavar="|".join(RECIPES), help="default: all")
    options = parser.parse_args()
    if unknown := set(options.images) - set(RECIPES):
        parser.error(f"unknown image {', '.join(sorted(unknown))}; known are {', '.join(RECIPES)}")
    return options


def _check_root_and_python() -> None:
    if sys.version_info[:2] != (3, 11):
        raise BuildError(
            "The images contain Python 3.11, which must also compile their packages. "
            "Run this with python3.11."
        )
    if os.geteuid() != 0:
        raise BuildError(
            "Unpacking Debian packages with their owners needs root. Run this as root."
        )


def _build_products(build: BuildContext, options: argparse.Namespace) -> list[ImageProduct]:
    """Build the requested images, by default all.

    An image without source material stops the build only when it was requested by name.
    """
    made: list[ImageProduct] = []
    for name in dict.fromkeys(options.images or RECIPES):
        try:
            began = time.monotonic()
            for product in RECIPES[name](build):
                _write_product(product, options.output, began)
                made.append(product)
                began = time.monotonic()
        except MaterialMissing as missing:
            if options.images:
                raise BuildError(str(missing)) from None
            text = f"The image of {name} is skipped. {missing}"
            print(textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False))
    return made


def _write_product(product: ImageProduct, folder: Path, began: float) -> None:
    target = folder / f"{product.archive_name}.oci.tar"
    kept = is_archive_current(target, product.image)
    if not kept:
        write_archive(product.image, target)
    _print_report(product.image, target, kept=kept, seconds=time.monotonic() - began)


def is_archive_current(target: Path, image: Image) -> bool:
    """Return whether the existing archive contains exactly this image, complete."""
    try:
        with tarfile.open(target) as archive:
            names = set(archive.getnames())
            entry = read_index_entry(archive)
            found = (entry["digest"], entry["annotations"][NAME_ANNOTATION])
    except (OSError, tarfile.TarError, KeyError, ValueError):
        return False
    is_complete = all(make_blob_name(layer.digest) in names for layer in image.layers)
    return is_complete and found == (compute_image_digest(image), image.reference)


def _print_report(image: Image, target: Path, *, kept: bool, seconds: float) -> None:
    packed = sum(layer.size_bytes for layer in image.layers) / MIB
    unpacked = sum(layer.unpacked_bytes for layer in image.layers) / MIB
    state = "unchanged, checked" if kept else "built"
    sizes = f"{packed:.0f} MiB packed, {unpacked:.0f} MiB unpacked"
    print(f"{image.reference}: {sizes}, {state} in {seconds:.0f} s")
    for layer in image.layers:
        sizes = f"{layer.size_bytes / MIB:6.1f} MiB  {layer.unpacked_bytes / MIB:6.1f} MiB"
        print(f"  {layer.name:<22} {sizes}  {layer.digest[7:19]}")
    print(f"  {target}")
