"""Middleware in front of Oscar: files served without the database, and the page's CSP header."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

GetResponse = Callable[[HttpRequest], HttpResponseBase]

#: Oscar's pages contain inline scripts and styles. Everything else comes from the store itself,
#: except pictures that the owner links to in texts.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: https:; font-src 'self' data:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    """Add a Content-Security-Policy header to every response that has none."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Get the response and add the header."""
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class StaticAndMediaFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serve static files from the installed packages, and pictures from the store's folder."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self.add_files(str(settings.MEDIA_ROOT), prefix=settings.MEDIA_URL)
        self._prefixes = (settings.STATIC_URL, settings.MEDIA_URL)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve a file if the path is below one of the prefixes; pass other requests on."""
        path = request.path_info
        if path.startswith(self._prefixes) and "\0" not in path:
            return super().__call__(request)
        return self.get_response(request)
