"""Write a photo of 24 megapixels and 15 MB, as cameras make them, to the file PICTURE.

Beside it, write a drawing as PNG that would take 80 MB of memory.
"""

import os
from pathlib import Path

from PIL import Image

SIZE_BYTES = 15_000_000

path = Path(os.environ["PICTURE"])
noise = Image.effect_noise((6000, 4000), 60)
for quality in (90, 80, 70, 60, 50, 40, 30):
    Image.merge("RGB", (noise, noise, noise)).save(path, "JPEG", quality=quality)
    if path.stat().st_size <= SIZE_BYTES:
        break
content = path.read_bytes()
path.write_bytes(content.ljust(SIZE_BYTES, b"\0"))  # viewers ignore what follows the picture
Image.new("RGB", (5000, 4000), "white").save(path.with_suffix(".png"))
