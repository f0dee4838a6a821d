"""`template`: fill an empty database and folder with a shop to be cloned, and prove that it shows its goods.

Every step finds what an earlier, killed run left, and goes on from there.
"""

import logging
import shutil
from importlib.resources import files
from pathlib import Path

import django
from django.test import Client

from storefleet_oscar import configuration, logs
from storefleet_oscar.configuration import Store

_log = logging.getLogger(__name__)


class TemplateError(Exception):
    """The shop that was made does not work; the text names the page."""


def make_template() -> None:
    store = configuration.current()
    logs.configure()
    django.setup()
    logs.adopt("haystack")
    from django.core.management import call_command
    from django.db import transaction

    from storefleet_oscar.converge import wait_for_database
    from storefleet_oscar.seed import seed

    wait_for_database()
    _log.info("making the tables")
    call_command("migrate", interactive=False, verbosity=0)
    _log.info("putting goods on the shelves")
    _write_pictures(store.data_dir / "media")
    with transaction.atomic():
        seed()
    _build_index(store)
    _visit_pages(store)


def _write_pictures(media: Path) -> None:
    from storefleet_oscar.pictures import picture
    from storefleet_oscar.samples import SAMPLES

    for sample in SAMPLES:
        write_file(media / "products" / f"{sample.picture}.jpg", picture(sample.picture))
    missing = files("oscar") / "static" / "oscar" / "img" / "image_not_found.jpg"
    write_file(media / "image_not_found.jpg", missing.read_bytes())


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def _build_index(store: Store) -> None:
    from django.core.management import call_command

    shutil.rmtree(store.data_dir / "index", ignore_errors=True)
    call_command("rebuild_index", interactive=False, verbosity=0)


def _visit_pages(store: Store) -> None:
    """Look at every page that shows goods: it proves the template, and makes the small pictures once for all stores."""
    from oscar.core.loading import get_model

    from storefleet_oscar.samples import SAMPLES

    client = Client(headers={"host": store.host})
    titles = [sample.title for sample in SAMPLES]
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
            raise TemplateError(f"the page {path} of the template does not show what it should")
    _visit_basket(client, [product.pk for product in products])


def _visit_basket(client: Client, products: list[int]) -> None:
    """The basket has a size of its own for pictures; the basket itself is thrown away again."""
    from oscar.core.loading import get_model

    for pk in products:
        client.post(f"/basket/add/{pk}/", {"quantity": "1"})
    client.get("/basket/")
    get_model("basket", "Basket").objects.all().delete()
    get_model("analytics", "ProductRecord").objects.all().delete()
