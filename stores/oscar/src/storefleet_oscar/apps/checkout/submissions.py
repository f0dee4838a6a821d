"""Place each order once, at the prices that the customer has confirmed.

The preview carries a signed submission: which basket it showed, and a digest of what it showed.
A repeated request finds the order of that basket; a changed price changes the digest.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from oscar.core.loading import get_model

FIELD = "submission"
SALT = "storefleet_oscar.submission"
SESSION_KEY = "storefleet_confirmed"
#: Oscar's key of the order that the thank-you page shows.
ORDER_KEY = "checkout_order_id"


def sign_submission(basket_id: int, digest: str) -> str:
    """Return the value of the preview's hidden field."""
    return signing.dumps([basket_id, digest], salt=SALT)


def read_submission(request: HttpRequest) -> tuple[int, str] | None:
    """Return basket and digest of the submitted field; None if it is absent or not ours."""
    try:
        basket_id, digest = signing.loads(request.POST.get(FIELD, ""), salt=SALT)
    except (signing.BadSignature, ValueError):
        return None
    return int(basket_id), str(digest)


def digest_submission(submission: Mapping[str, Any]) -> str:
    """Return a digest of what a customer confirms: products, prices, delivery and address."""
    basket, method = submission["basket"], submission["shipping_method"]
    charge, total = submission["shipping_charge"], submission["order_total"]
    address = submission["shipping_address"]
    lines = sorted(
        (line.product_id, line.quantity, str(line.line_price_incl_tax_incl_discounts))
        for line in basket.all_lines()
    )
    shown = {
        "lines": lines,
        "method": method and method.code,
        "charge": charge and str(charge.incl_tax),
        "total": total and [total.currency, str(total.incl_tax)],
        "address": address and address.active_address_fields(),
    }
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def find_confirmed_digest(request: HttpRequest) -> str | None:
    """Return the digest of what this customer was shown; None if nothing was shown."""
    if (submitted := read_submission(request)) is not None:
        return submitted[1]
    shown = request.session.get(SESSION_KEY)
    return str(shown) if shown else None


def lock_basket(request: HttpRequest) -> Any | None:
    """Lock the basket that a request submits and its stock; return its order if there is one.

    The locks last until the request's transaction ends: a second submission waits here and then
    finds the order of the first, and two customers cannot buy the same last piece.
    """
    basket_id = _find_basket_id(request)
    baskets = get_model("basket", "Basket").objects.filter(pk=basket_id)
    if basket_id is None or baskets.select_for_update().first() is None:
        return None
    if (
        order := get_model("order", "Order").objects.filter(basket_id=basket_id).first()
    ) is not None:
        return order
    lines = get_model("basket", "Line").objects.filter(basket_id=basket_id)
    stock = get_model("partner", "StockRecord").objects.filter(
        pk__in=lines.values("stockrecord_id")
    )
    list(stock.order_by("pk").select_for_update())
    return None


def _find_basket_id(request: HttpRequest) -> int | None:
    """Find the submitted basket without loading `request.basket`, which must follow the lock."""
    if (submitted := read_submission(request)) is not None:
        return submitted[0]
    if request.user.is_authenticated:
        open_baskets = get_model("basket", "Basket").open.filter(owner=request.user)
        return open_baskets.values_list("pk", flat=True).first()  # type: ignore[no-any-return]
    try:
        cookie = request.COOKIES.get(settings.OSCAR_BASKET_COOKIE_OPEN, "")
        return int(signing.Signer().unsign(cookie))
    except (signing.BadSignature, ValueError):
        return None


def find_last_order(request: HttpRequest) -> Any | None:
    """Return the order that this session placed last; None if it has placed none."""
    order_id = request.session.get(ORDER_KEY)
    return order_id and get_model("order", "Order").objects.filter(pk=order_id).first()
