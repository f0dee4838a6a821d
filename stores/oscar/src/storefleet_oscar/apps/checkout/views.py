"""Cash on delivery: nothing is asked for, and the order says what the courier collects."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from oscar.apps.checkout import views
from oscar.core.loading import get_model
from oscar.core.prices import Price

from storefleet_oscar.payment import DUE, METHOD


class PaymentDetailsView(views.PaymentDetailsView):  # type: ignore[misc]
    def submit(self, user: Any, basket: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Place the order once, however often and however fast the button is pressed."""
        baskets = get_model("basket", "Basket").objects
        # Held until the request's transaction ends: the second press waits here, then finds the basket gone.
        status = baskets.select_for_update().values_list("status", flat=True).get(pk=basket.pk)
        if status not in baskets.model.editable_statuses:
            return redirect("checkout:thank-you")
        return super().submit(user, basket, *args, **kwargs)

    def handle_payment(self, order_number: str, total: Price, **kwargs: Any) -> None:  # noqa: ARG002
        """Record what is to be paid at the door; raises nothing, as there is nobody who could refuse."""
        kind, _ = get_model("payment", "SourceType").objects.get_or_create(name=METHOD)
        source = get_model("payment", "Source")(
            source_type=kind, currency=total.currency, amount_allocated=total.incl_tax
        )
        self.add_payment_source(source)
        self.add_payment_event(DUE, total.incl_tax)
