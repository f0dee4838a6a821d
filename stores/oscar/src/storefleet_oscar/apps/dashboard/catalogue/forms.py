"""Forms of the catalogue's dashboard."""

from typing import Any

from django.core.exceptions import ValidationError
from oscar.apps.dashboard.catalogue import forms

from storefleet_oscar.thumbnails import PIXELS_MAX, is_too_large


class _PictureLimit:
    """Refuses a picture that would take too much memory."""

    picture_field = ""
    cleaned_data: dict[str, Any]

    def clean(self) -> dict[str, Any]:
        """Check the picture that was uploaded."""
        cleaned: dict[str, Any] = super().clean()  # type: ignore[misc]
        if is_too_large(cleaned.get(self.picture_field)):
            message = (
                f"This picture has more than {PIXELS_MAX // 1_000_000} megapixels. Make it smaller,"
                " or save it as JPEG."
            )
            raise ValidationError({self.picture_field: message})
        return cleaned


class ProductImageForm(_PictureLimit, forms.ProductImageForm):  # type: ignore[misc]
    """The form of a product's picture."""

    picture_field = "original"


class CategoryForm(_PictureLimit, forms.CategoryForm):  # type: ignore[misc]
    """The form of a category."""

    picture_field = "image"
