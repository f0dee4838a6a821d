"""What stands before Oscar: files that need no database, and what pages may load."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

Next = Callable[[HttpRequest], HttpResponseBase]

#: Oscar's pages carry scripts and styles in themselves; all else comes from the shop, pictures in texts excepted.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: https:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class ContentPolicy:
    def __init__(self, get_response: Next) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class Files(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serves static files out of the installed packages, and pictures out of the store's folder."""

    def __init__(self, get_response: Next) -> None:
        super().__init__(get_response)
        self.add_files(str(settings.MEDIA_ROOT), prefix=settings.MEDIA_URL)
        self._prefixes = (settings.STATIC_URL, settings.MEDIA_URL)

    def __call__(self, request: HttpRequest) -> Any:
        path = request.path_info
        if path.startswith(self._prefixes) and "\0" not in path:
            return super().__call__(request)
        return self.get_response(request)
