"""Checkout with cash on delivery: take no payment, record the amount that the courier collects."""

import logging
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from oscar.apps.checkout import views
from oscar.core.loading import get_class, get_model
from oscar.core.prices import Price

from storefleet_oscar.apps.checkout import submissions
from storefleet_oscar.payment import DUE_EVENT, PAYMENT_METHOD

CHANGED = (
    "Prices, products or delivery have changed since you saw this page. Nothing has been ordered."
    " Please check your order below and place it again."
)

_log = logging.getLogger(__name__)


class PaymentDetailsView(views.PaymentDetailsView):  # type: ignore[misc]
    """The last steps of the checkout: payment details, preview and submission."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show an order that was placed already instead of an empty basket."""
        if self.preview and (order := self._find_placed_order(request)) is not None:
            return _show_order(request, order)
        return super().dispatch(request, *args, **kwargs)

    def _find_placed_order(self, request: HttpRequest) -> Any | None:
        if request.method == "POST" and request.POST.get("action") == "place_order":
            order = submissions.lock_basket(request)
            if order is not None:
                return order
        return submissions.find_last_order(request) if request.basket.is_empty else None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the submission that the customer confirms with the button."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        digest = submissions.digest_submission(context)
        self.request.session[submissions.SESSION_KEY] = digest
        context["submission_field"] = submissions.FIELD
        context["submission"] = submissions.sign_submission(context["basket"].pk, digest)
        return context

    def handle_place_order_submission(self, request: HttpRequest) -> HttpResponse:
        """Place the order if it is what the customer has seen, else show it again."""
        submission = self.build_submission()
        digest = submissions.digest_submission(submission)
        if submissions.find_confirmed_digest(request) != digest:
            return self.render_preview(request, error=CHANGED)
        return self.submit(**submission)

    def handle_payment(self, order_number: str, total: Price, **kwargs: Any) -> None:  # noqa: ARG002
        """Record the amount due on delivery; it never raises, as no payment can be declined."""
        source_type, _ = get_model("payment", "SourceType").objects.get_or_create(
            name=PAYMENT_METHOD
        )
        source = get_model("payment", "Source")(
            source_type=source_type, currency=total.currency, amount_allocated=total.incl_tax
        )
        self.add_payment_source(source)
        self.add_payment_event(DUE_EVENT, total.incl_tax)

    def send_order_placed_email(self, order: Any) -> None:
        """Write the confirmation; a text that the owner has broken never fails an order."""
        try:
            with transaction.atomic():
                super().send_order_placed_email(order)
        except Exception:  # noqa: BLE001 - the template is the owner's program
            _log.exception("The confirmation of an order could not be written")


def _show_order(request: HttpRequest, order: Any) -> HttpResponse:
    get_class("checkout.utils", "CheckoutSessionData")(request).flush()
    request.session[submissions.ORDER_KEY] = order.pk
    return redirect("checkout:thank-you")
