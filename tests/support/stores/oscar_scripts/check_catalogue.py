"""Check all pages of the product lists with 1 to 100 products, inside a store's own process.

Products have equal titles, prices, dates and ratings in groups: ties are what moves products
between pages.
"""

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import django

django.setup()

from django.core.paginator import Paginator  # noqa: E402
from django.test import Client  # noqa: E402
from oscar.core.loading import get_model  # noqa: E402
from storefleet_oscar import configuration  # noqa: E402
from storefleet_oscar.apps.search import queries  # noqa: E402
from storefleet_oscar.apps.search.forms import SORT_CHOICES  # noqa: E402

PRODUCTS_MAX = 100
PER_PAGE = 20
ORDERS = [value for value, _ in SORT_CHOICES]
#: Counts around the edges of pages, which are also searched and requested by HTTP.
REQUESTED = (1, 20, 36, 41)

Product = get_model("catalogue", "Product")
chance = random.Random(13)
client = Client(headers={"host": configuration.load_store().host})


def create_product(number: int, product_class: object, partner: object) -> int:
    """Create a product that equals others in everything by which lists are ordered."""
    product = Product.objects.create(
        title=f"Tin {chance.randrange(4)}",
        upc=f"T-{number}",
        description="<p>A tin of things.</p>",
        product_class=product_class,
        rating=chance.choice([None, 3.0, 4.0]),
    )
    moment = datetime(2026, 1, 1 + chance.randrange(3), tzinfo=UTC)
    Product.objects.filter(pk=product.pk).update(date_created=moment)
    product.stockrecords.create(
        partner=partner,
        partner_sku=f"T-{number}",
        price=chance.choice(["5.00", "7.00"]),
        num_in_stock=9,
    )
    return int(product.pk)


def collect_pages(**criteria: object) -> list[int]:
    """Return the products of all pages, each page by a query of its own."""
    pages = Paginator(queries.list_products(**criteria).values_list("pk", flat=True), PER_PAGE)
    return [pk for number in pages.page_range for pk in pages.page(number).object_list]


def request_pages(path: str, count: int) -> Iterator[int]:
    """Request all pages of a list and return the products on them."""
    marker = "/basket/add/"
    for page in range(1, (count + PER_PAGE - 1) // PER_PAGE + 1):
        text = client.get(f"{path}page={page}").content.decode()
        if f"<strong>{count}</strong> result" not in text:
            fail(f"{path}page={page} does not count {count} results")
        yield from (int(part.partition("/")[0]) for part in text.split(marker)[1:])


def fail(reason: str) -> None:
    """End with the reason."""
    sys.exit(f"{reason}")


def check(found: list[int], expected: set[int], what: str) -> None:
    """Fail unless each product was found exactly once."""
    if len(found) != len(expected) or set(found) != expected:
        twice = sorted(pk for pk in set(found) if found.count(pk) > 1)
        fail(f"{what}: missing {sorted(expected - set(found))}, repeated {twice}")


def main() -> None:
    """Add products one by one and check every list."""
    product_class = get_model("catalogue", "ProductClass").objects.first()
    partner = get_model("partner", "Partner").objects.first()
    category = get_model("catalogue", "Category").add_root(name="Tins")
    Product.objects.all().delete()
    products: set[int] = set()
    for count in range(1, PRODUCTS_MAX + 1):
        product = create_product(count, product_class, partner)
        get_model("catalogue", "ProductCategory").objects.create(
            product_id=product, category=category
        )
        products.add(product)
        for order in ORDERS:
            check(collect_pages(order=order), products, f"{count} by {order}")
        if count in REQUESTED:
            check_requests(count, products, category.get_absolute_url())


def check_requests(count: int, products: set[int], category: str) -> None:
    """Check searches, and the pages of all lists."""
    for order in ORDERS:
        check(collect_pages(text="tin", order=order), products, f"{count} search by {order}")
        paths = [f"/catalogue/?sort_by={order}&"]
        if order in (queries.RELEVANCY, queries.PRICE_ASCENDING):
            paths += [f"/search/?q=tins&sort_by={order}&", f"{category}?sort_by={order}&"]
        for path in paths:
            check(list(request_pages(path, count)), products, f"{count} at {path}")


main()
