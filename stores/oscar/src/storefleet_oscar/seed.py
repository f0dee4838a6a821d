"""Create the rows of a new store; each is found by its natural key and created if missing."""

from typing import Any

from django.core.management import call_command
from oscar.apps.catalogue.categories import create_from_breadcrumbs
from oscar.core.loading import get_model

from storefleet_oscar import payment, samples
from storefleet_oscar.samples import SampleProduct
from storefleet_oscar.views import FEATURED_RANGE

#: Countries at the top of the list, in this order; the others follow by name.
FIRST_COUNTRIES = ("US", "CA", "GB", "IE", "AU", "NZ", "DE", "FR")
SHIPPING_EVENTS = ("Shipped", "Delivered")


def seed_store() -> None:
    """Create countries, types, categories and sample products."""
    _seed_countries()
    _seed_types()
    categories = {name: _ensure_category(name, text) for name, text in samples.CATEGORIES.items()}
    partner, _ = get_model("partner", "Partner").objects.get_or_create(name=samples.PARTNER)
    product_class, _ = get_model("catalogue", "ProductClass").objects.get_or_create(
        name=samples.PRODUCT_CLASS, defaults={"requires_shipping": True, "track_stock": True}
    )
    products = [
        _ensure_product(sample, product_class, partner, categories[sample.category])
        for sample in samples.SAMPLE_PRODUCTS
    ]
    _feature_products(products)


def _seed_countries() -> None:
    countries = get_model("address", "Country").objects
    if not countries.exists():
        call_command("oscar_populate_countries", stdout=_NullOutput())
    for place, code in enumerate(reversed(FIRST_COUNTRIES), start=1):
        countries.filter(pk=code).update(display_order=place)


def _seed_types() -> None:
    get_model("payment", "SourceType").objects.get_or_create(name=payment.PAYMENT_METHOD)
    for name in (payment.DUE_EVENT, payment.PAID_EVENT):
        get_model("order", "PaymentEventType").objects.get_or_create(name=name)
    for name in SHIPPING_EVENTS:
        get_model("order", "ShippingEventType").objects.get_or_create(name=name)


def _ensure_category(name: str, description: str) -> Any:
    category = create_from_breadcrumbs(name)
    if not category.description:
        category.description = description
        category.save()
    return category


def _ensure_product(sample: SampleProduct, product_class: Any, partner: Any, category: Any) -> Any:
    product, _ = get_model("catalogue", "Product").objects.get_or_create(
        upc=sample.upc,
        defaults={
            "title": sample.title,
            "description": sample.description,
            "product_class": product_class,
        },
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


def _feature_products(products: list[Any]) -> None:
    featured, _ = get_model("offer", "Range").objects.get_or_create(
        slug=FEATURED_RANGE,
        defaults={"name": "Featured", "description": "Shown on the home page", "is_public": True},
    )
    for place, product in enumerate(products):
        featured.add_product(product, display_order=place)


class _NullOutput:
    """Discards the output of Django commands; standard output carries JSON lines only."""

    def write(self, _text: str) -> None: ...
