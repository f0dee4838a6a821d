"""Make thumbnails of large photos in little memory: a pod that is out of memory stops selling."""

import threading
from typing import Any

from sorl.thumbnail.base import ThumbnailBackend
from sorl.thumbnail.engines.pil_engine import Engine as PillowEngine

#: Larger than any thumbnail on a page, also on screens with two pixels per point.
DECODED_SIDE_MIN = 1600
#: JPEG is decoded at a smaller scale; other formats only as a whole, at 4 bytes per pixel.
PIXELS_MAX = 16_000_000
#: A progressive JPEG is decoded at full size, 4 bytes a pixel, before it is reduced.
PROGRESSIVE_PIXELS_MAX = 30_000_000

_turn = threading.Lock()


class Engine(PillowEngine):  # type: ignore[misc]
    """Decodes a JPEG at the smallest scale that thumbnails need: 24 megapixels in 6 MB, not 72."""

    def get_image(self, source: Any) -> Any:
        """Open a picture; it is decoded later."""
        image = super().get_image(source)
        image.draft("RGB", (DECODED_SIDE_MIN, DECODED_SIDE_MIN))
        return image


class Backend(ThumbnailBackend):  # type: ignore[misc]
    """Makes one thumbnail at a time."""

    def _create_thumbnail(self, *arguments: Any) -> None:
        with _turn:
            super()._create_thumbnail(*arguments)


def find_exceeded_limit(picture: Any) -> int | None:
    """Find the limit, in pixels, above which an uploaded picture takes too much memory to decode.

    Returns:
        The limit that the picture exceeds; None if it exceeds none.
    """
    image = getattr(picture, "image", None)  # Django's form field opens it
    if image is None:
        return None
    limit = PIXELS_MAX
    if image.format == "JPEG":
        if not image.info.get("progressive"):
            return None
        limit = PROGRESSIVE_PIXELS_MAX
    return limit if image.width * image.height > limit else None
