"""The dashboard's page that opens and closes the storefront."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.urls import reverse_lazy
from django.views.generic import FormView

from storefleet_oscar.models import STATE_ID, StoreState

MESSAGE_LENGTH_MAX = 1000


class StorefrontForm(forms.ModelForm):  # type: ignore[misc]
    """Whether customers can visit the storefront, and what they read if they cannot."""

    is_open = forms.BooleanField(required=False, label="Customers can visit the storefront")
    closed_message = forms.CharField(
        required=False,
        max_length=MESSAGE_LENGTH_MAX,
        widget=forms.Textarea(attrs={"rows": 3, "class": "no-widget-init"}),
        label="Message while it is closed",
    )

    class Meta:
        """The row and its fields."""

        model = StoreState
        fields = ("is_open", "closed_message")


class StorefrontView(FormView):  # type: ignore[misc]
    """Open or close the storefront."""

    template_name = "storefleet/dashboard_storefront.html"
    form_class = StorefrontForm
    success_url = reverse_lazy("dashboard:storefront")

    def get_form_kwargs(self) -> dict[str, Any]:
        """Edit the store's only row."""
        state, _ = StoreState.objects.get_or_create(pk=STATE_ID)
        return {**super().get_form_kwargs(), "instance": state}

    def form_valid(self, form: StorefrontForm) -> HttpResponse:
        """Save the choice."""
        state = form.save()
        messages.success(
            self.request, f"The storefront is {'open' if state.is_open else 'closed'}."
        )
        return super().form_valid(form)
