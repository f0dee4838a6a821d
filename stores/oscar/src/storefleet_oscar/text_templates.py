"""Load the templates of texts that are not HTML."""

from collections.abc import Iterator

from django.template import Origin
from django.template.loaders.app_directories import Loader


class TextTemplateLoader(Loader):  # type: ignore[misc]
    """Finds templates whose names end with .txt, in the installed applications."""

    def get_template_sources(self, template_name: str) -> Iterator[Origin]:
        """Return the places of a text template; none for any other template."""
        if template_name.endswith(".txt"):
            yield from super().get_template_sources(template_name)
