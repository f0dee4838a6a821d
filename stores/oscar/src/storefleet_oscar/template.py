"""`template`: fill an empty database and folder with the store that others are cloned from.

Every step continues where an earlier, killed run stopped. The last step requests every page that
shows products, so that a broken template is never cloned.
"""

import logging
from importlib.resources import files
from pathlib import Path

import django
from django.test import Client

from storefleet_oscar import configuration, logs
from storefleet_oscar.configuration import Store

_log = logging.getLogger(__name__)


class TemplateError(Exception):
    """A page of the template does not show what it should; the message names it."""


def build_template() -> None:
    """Create tables, products and pictures, then check the pages."""
    store = configuration.load_store()
    logs.configure_logging()
    django.setup()
    from django.core.management import call_command
    from django.db import transaction

    from storefleet_oscar.converge import wait_for_database
    from storefleet_oscar.seed import seed_store

    wait_for_database()
    _log.info("Creating the tables")
    call_command("migrate", interactive=False, verbosity=0)
    _log.info("Creating the sample products")
    _write_pictures(store.data_dir / "media")
    with transaction.atomic():
        seed_store()
    _check_pages(store)


def _write_pictures(media: Path) -> None:
    from storefleet_oscar.pictures import render_picture
    from storefleet_oscar.samples import SAMPLE_PRODUCTS

    for sample in SAMPLE_PRODUCTS:
        write_file(media / "products" / f"{sample.picture}.jpg", render_picture(sample.picture))
    missing = files("oscar") / "static" / "oscar" / "img" / "image_not_found.jpg"
    write_file(media / "image_not_found.jpg", missing.read_bytes())


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def _check_pages(store: Store) -> None:
    """Request every page that shows products; this also creates the thumbnails for all stores."""
    from oscar.core.loading import get_model

    from storefleet_oscar.samples import SAMPLE_PRODUCTS

    client = Client(headers={"host": store.host})
    titles = [sample.title for sample in SAMPLE_PRODUCTS]
    products = get_model("catalogue", "Product").objects.all()
    pages = {
        "/": titles,
        "/catalogue/": titles,
        "/search/?q=mug": titles[:1],
        "/dashboard/login/": [],
    }
    pages |= {product.get_absolute_url(): [product.title] for product in products}
    for path, expected in pages.items():
        response = client.get(path)
        text = response.content.decode()
        if response.status_code != 200 or any(title not in text for title in expected):
            raise TemplateError(
                f"The template's page {path} does not show the expected products"
                f" (status {response.status_code})."
            )
    _check_basket(client, [product.pk for product in products])


def _check_basket(client: Client, products: list[int]) -> None:
    """Request a full basket, whose thumbnails have a size of their own, then delete the basket."""
    from oscar.core.loading import get_model

    for pk in products:
        client.post(f"/basket/add/{pk}/", {"quantity": "1"})
    client.get("/basket/")
    get_model("basket", "Basket").objects.all().delete()
    get_model("analytics", "ProductRecord").objects.all().delete()
