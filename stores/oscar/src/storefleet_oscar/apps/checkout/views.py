"""Checkout with cash on delivery: take no payment, record the amount that the courier collects."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from oscar.apps.checkout import views
from oscar.core.loading import get_model
from oscar.core.prices import Price

from storefleet_oscar.payment import DUE_EVENT, PAYMENT_METHOD


class PaymentDetailsView(views.PaymentDetailsView):  # type: ignore[misc]
    """The last steps of the checkout: payment details, preview and submission."""

    def submit(self, user: Any, basket: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Place the order exactly once, even when the button is pressed several times."""
        baskets = get_model("basket", "Basket").objects
        # The row lock lasts until the request's transaction ends: a second submission waits here
        # and then finds the basket closed.
        status = baskets.select_for_update().values_list("status", flat=True).get(pk=basket.pk)
        if status not in baskets.model.editable_statuses:
            return redirect("checkout:thank-you")
        return super().submit(user, basket, *args, **kwargs)

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
