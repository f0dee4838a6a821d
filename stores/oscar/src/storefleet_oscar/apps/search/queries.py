"""Find products with PostgreSQL: what customers see in lists, searches and categories.

There is no separate index, so nothing can be out of date after a change, a restored dump or an
upgrade, and the pages of a list always have each product once.
"""

from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Case, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Lower
from oscar.core.loading import get_model

QUERY_LENGTH_MAX = 200
WORDS_MAX = 10
#: The configuration finds other forms of English words. Words of every language are found as they
#: are written, also as parts of longer words.
TEXT_CONFIGURATION = "english"

RELEVANCY, RATING, NEWEST = "relevancy", "rating", "newest"
PRICE_DESCENDING, PRICE_ASCENDING = "price-desc", "price-asc"
TITLE_ASCENDING, TITLE_DESCENDING = "title-asc", "title-desc"
#: Every order ends with the primary key: a tie would let products change places between pages.
ORDERS: dict[str, tuple[Any, ...]] = {
    RATING: (F("rating").desc(nulls_last=True), "-date_created", "-pk"),
    NEWEST: ("-date_created", "-pk"),
    PRICE_DESCENDING: (F("lowest_price").desc(nulls_last=True), "pk"),
    PRICE_ASCENDING: (F("lowest_price").asc(nulls_last=True), "pk"),
    TITLE_ASCENDING: (Lower("title"), "pk"),
    TITLE_DESCENDING: (Lower("title").desc(), "-pk"),
}


def list_products(text: str = "", *, order: str = RELEVANCY, categories: Any = None) -> QuerySet:
    """Return the public products, those that match `text` if it is not empty, in a total order.

    `categories` is a queryset of categories, one of which a product must have.
    """
    product = get_model("catalogue", "Product")
    found = product.objects.browsable().base_queryset()
    if categories is not None:
        members = get_model("catalogue", "ProductCategory").objects.filter(category__in=categories)
        found = found.filter(pk__in=members.values("product_id"))
    if text := text.strip()[:QUERY_LENGTH_MAX]:
        found = found.filter(_match(text))
    if order in (PRICE_ASCENDING, PRICE_DESCENDING):
        found = found.annotate(lowest_price=_select_lowest_price())
    if order in ORDERS:
        return found.order_by(*ORDERS[order])
    if not text:
        return found.order_by(*ORDERS[NEWEST])
    in_title = Case(
        When(title__iexact=text, then=Value(0)),
        When(title__icontains=text, then=Value(1)),
        When(_all_words("title", text), then=Value(2)),
        default=Value(3),
        output_field=IntegerField(),
    )
    return found.annotate(match_rank=in_title).order_by("match_rank", *ORDERS[NEWEST])


def _match(text: str) -> Q:
    """Match products that contain every word somewhere, or its forms in their own texts."""
    matches = Q()
    for word in text.split()[:WORDS_MAX]:
        matches &= (
            Q(title__icontains=word)
            | Q(upc__icontains=word)
            | Q(description__icontains=word)
            | Q(pk__in=_select_products_by_relation("categories__name__icontains", word))
            | Q(pk__in=_select_products_by_relation("children__title__icontains", word))
            | Q(pk__in=_select_products_by_relation("children__upc__icontains", word))
            | Q(
                pk__in=_select_products_by_relation("attribute_values__value_text__icontains", word)
            )
        )
    forms = get_model("catalogue", "Product").objects.annotate(
        words=SearchVector("title", "description", config=TEXT_CONFIGURATION)
    )
    query = SearchQuery(text, config=TEXT_CONFIGURATION, search_type="plain")
    return matches | Q(pk__in=forms.filter(words=query).values("pk"))


def _select_products_by_relation(lookup: str, word: str) -> QuerySet:
    return get_model("catalogue", "Product").objects.filter(**{lookup: word}).values("pk")


def _all_words(field: str, text: str) -> Q:
    conditions = Q()
    for word in text.split()[:WORDS_MAX]:
        conditions &= Q(**{f"{field}__icontains": word})
    return conditions


def _select_lowest_price() -> Subquery:
    """Select the lowest price of a product or of its variants."""
    records = get_model("partner", "StockRecord").objects.filter(
        Q(product=OuterRef("pk")) | Q(product__parent=OuterRef("pk"), product__is_public=True),
        price__isnull=False,
    )
    return Subquery(records.order_by("price").values("price")[:1])
