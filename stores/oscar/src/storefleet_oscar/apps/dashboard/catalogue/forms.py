"""Forms of the catalogue's dashboard."""

from typing import Any

from django.core.exceptions import ValidationError
from oscar.apps.dashboard.catalogue import forms

from storefleet_oscar.thumbnails import find_exceeded_limit


class _PictureLimit:
    """Refuses a picture that would take too much memory."""

    picture_field = ""
    cleaned_data: dict[str, Any]

    def clean(self) -> dict[str, Any]:
        """Check the picture that was uploaded."""
        cleaned: dict[str, Any] = super().clean()  # type: ignore[misc]
        limit = find_exceeded_limit(cleaned.get(self.picture_field))
        if limit is not None:
            message = (
                f"This picture has more than {limit // 1_000_000} megapixels. Make it smaller, or"
                " save it as a JPEG that is not progressive."
            )
            raise ValidationError({self.picture_field: message})
        return cleaned


class ProductImageForm(_PictureLimit, forms.ProductImageForm):  # type: ignore[misc]
    """The form of a product's picture."""

    picture_field = "original"


class CategoryForm(_PictureLimit, forms.CategoryForm):  # type: ignore[misc]
    """The form of a category."""

    picture_field = "image"
