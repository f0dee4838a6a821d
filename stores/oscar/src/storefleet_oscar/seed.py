"""The rows of a new shop; each is found by its natural key and made when it is missing."""

from typing import Any

from django.core.management import call_command
from oscar.apps.catalogue.categories import create_from_breadcrumbs
from oscar.core.loading import get_model

from storefleet_oscar import payment, samples
from storefleet_oscar.samples import Sample
from storefleet_oscar.views import FEATURED

#: The top of the list of countries, in this order; the rest follows by name.
FIRST_COUNTRIES = ("US", "CA", "GB", "IE", "AU", "NZ", "DE", "FR")
SHIPPING_EVENTS = ("Shipped", "Delivered")


def seed() -> None:
    _seed_countries()
    _seed_types()
    categories = {name: _category(name, text) for name, text in samples.CATEGORIES.items()}
    partner, _ = get_model("partner", "Partner").objects.get_or_create(name=samples.PARTNER)
    kind, _ = get_model("catalogue", "ProductClass").objects.get_or_create(
        name=samples.PRODUCT_CLASS, defaults={"requires_shipping": True, "track_stock": True}
    )
    products = [
        _product(sample, kind, partner, categories[sample.category]) for sample in samples.SAMPLES
    ]
    _feature(products)


def _seed_countries() -> None:
    countries = get_model("address", "Country").objects
    if not countries.exists():
        call_command("oscar_populate_countries", stdout=_Silence())
    for place, code in enumerate(reversed(FIRST_COUNTRIES), start=1):
        countries.filter(pk=code).update(display_order=place)


def _seed_types() -> None:
    get_model("payment", "SourceType").objects.get_or_create(name=payment.METHOD)
    for name in (payment.DUE, payment.PAID):
        get_model("order", "PaymentEventType").objects.get_or_create(name=name)
    for name in SHIPPING_EVENTS:
        get_model("order", "ShippingEventType").objects.get_or_create(name=name)


def _category(name: str, description: str) -> Any:
    category = create_from_breadcrumbs(name)
    if not category.description:
        category.description = description
        category.save()
    return category


def _product(sample: Sample, kind: Any, partner: Any, category: Any) -> Any:
    product, _ = get_model("catalogue", "Product").objects.get_or_create(
        upc=sample.upc,
        defaults={"title": sample.title, "description": sample.description, "product_class": kind},
    )
    product.categories.set([category])
    product.images.get_or_create(
        display_order=0, defaults={"original": f"products/{sample.picture}.jpg"}
    )
    product.stockrecords.get_or_create(
        partner=partner,
        partner_sku=sample.upc,
        defaults={"price": sample.price, "num_in_stock": samples.STOCK, "low_stock_threshold": 10},
    )
    return product


def _feature(products: list[Any]) -> None:
    featured, _ = get_model("offer", "Range").objects.get_or_create(
        slug=FEATURED,
        defaults={"name": "Featured", "description": "Shown on the home page", "is_public": True},
    )
    for place, product in enumerate(products):
        featured.add_product(product, display_order=place)


class _Silence:
    """Stands in for the standard output of commands, which carries JSON lines alone."""

    def write(self, _text: str) -> None: ...
