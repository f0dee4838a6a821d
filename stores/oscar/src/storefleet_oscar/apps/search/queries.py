"""Find products with PostgreSQL: what customers see in lists, searches and categories.

There is no separate index, so nothing can be out of date after a change, a restored dump or an
upgrade, and the pages of a list always have each product once.
"""

from typing import Any

from django.db import connection
from django.db.models import Case, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Lower
from oscar.core.loading import get_model

QUERY_LENGTH_MAX = 200
WORDS_MAX = 10
#: PostgreSQL's dictionary that finds other forms of English words. All words are found as they are
#: written, also as parts of longer words.
STEMMER = "english_stem"
STEM_LENGTH_MIN = 3
VALUES = "attribute_values"

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
    """Match products that contain every word, or its English stem, somewhere."""
    matches = Q()
    for word in text.split()[:WORDS_MAX]:
        anywhere = Q()
        for part in _list_forms(word):
            anywhere |= (
                Q(title__icontains=part)
                | Q(upc__icontains=part)
                | Q(description__icontains=part)
                | Q(pk__in=_select_products_by_relation("categories__name__icontains", part))
                | Q(pk__in=_select_products_by_relation(f"{VALUES}__value_text__icontains", part))
                | Q(pk__in=_select_parents("title__icontains", part))
                | Q(pk__in=_select_parents("upc__icontains", part))
            )
        matches &= anywhere
    return matches


def _list_forms(word: str) -> list[str]:
    """Return the parts to look for: the stem if the word begins with it, else both."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ts_lexize(%s, %s)", (STEMMER, word))
        stems = cursor.fetchone()[0]
    stem = stems[0] if stems and len(stems[0]) >= STEM_LENGTH_MIN else word
    return [stem] if word.lower().startswith(stem) else [word, stem]


def _select_products_by_relation(lookup: str, part: str) -> QuerySet:
    return get_model("catalogue", "Product").objects.filter(**{lookup: part}).values("pk")


def _select_parents(lookup: str, part: str) -> QuerySet:
    """Select the products with a variant that matches."""
    variants = get_model("catalogue", "Product").objects.filter(**{lookup: part}, is_public=True)
    return variants.filter(parent__isnull=False).values("parent_id")


def _all_words(field: str, text: str) -> Q:
    conditions = Q()
    for word in text.split()[:WORDS_MAX]:
        conditions &= Q(**{f"{field}__icontains": word})
    return conditions


def _select_lowest_price() -> Coalesce:
    """Select the lowest price of a product, or of its variants."""
    records = get_model("partner", "StockRecord").objects.filter(price__isnull=False)
    own = records.filter(product=OuterRef("pk"))
    variants = records.filter(product__parent=OuterRef("pk"), product__is_public=True)
    return Coalesce(
        *(Subquery(found.order_by("price").values("price")[:1]) for found in (own, variants))
    )
