"""Illustrations of the sample products, drawn by code, so that no picture files are shipped.

The result is the same every time.
"""

import io
from collections.abc import Callable

from PIL import Image, ImageDraw

SIDE_PX = 800
#: Pictures are drawn larger and scaled down, for smooth edges.
SCALE = 3

DrawFunction = Callable[["Canvas"], None]
Point = tuple[float, float]


class Canvas:
    """A picture that is drawn in coordinates of the finished, scaled-down size."""

    def __init__(self, background: str) -> None:
        self._image = Image.new("RGB", (SIDE_PX * SCALE, SIDE_PX * SCALE), background)
        self._draw = ImageDraw.Draw(self._image)

    def draw_box(
        self, x: float, y: float, right: float, bottom: float, colour: str, radius: float = 0
    ) -> None:
        """Fill a rectangle, with rounded corners if `radius` is set."""
        self._draw.rounded_rectangle(
            _scale_points((x, y), (right, bottom)), radius * SCALE, fill=colour
        )

    def draw_oval(self, x: float, y: float, right: float, bottom: float, colour: str) -> None:
        """Fill the ellipse that the rectangle encloses."""
        self._draw.ellipse(_scale_points((x, y), (right, bottom)), fill=colour)

    def draw_ring(
        self, x: float, y: float, right: float, bottom: float, colour: str, width: float
    ) -> None:
        """Outline the ellipse that the rectangle encloses."""
        self._draw.ellipse(
            _scale_points((x, y), (right, bottom)), outline=colour, width=round(width * SCALE)
        )

    def draw_arc(
        self,
        x: float,
        y: float,
        right: float,
        bottom: float,
        colour: str,
        width: float,
        span: Point,
    ) -> None:
        """Draw a part of an ellipse; `span` is its first and last angle in degrees."""
        self._draw.arc(
            _scale_points((x, y), (right, bottom)), *span, fill=colour, width=round(width * SCALE)
        )

    def draw_polygon(self, colour: str, *points: Point) -> None:
        """Fill the polygon with these corners."""
        self._draw.polygon(_scale_points(*points), fill=colour)

    def draw_line(self, colour: str, width: float, *points: Point) -> None:
        """Draw a line through the points."""
        self._draw.line(
            _scale_points(*points), fill=colour, width=round(width * SCALE), joint="curve"
        )

    def encode_jpeg(self) -> bytes:
        """Return the finished picture as a JPEG file."""
        file = io.BytesIO()
        small = self._image.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        small.save(file, "JPEG", quality=86, optimize=True)
        return file.getvalue()


def render_picture(name: str) -> bytes:
    """Return the named illustration as a JPEG file; raises KeyError."""
    background, table, draw = _PICTURES[name]
    canvas = Canvas(background)
    canvas.draw_box(0, 610, SIDE_PX, SIDE_PX, table)
    draw(canvas)
    return canvas.encode_jpeg()


def _draw_mug(canvas: Canvas) -> None:
    canvas.draw_oval(190, 640, 640, 700, "#c99a5f")
    canvas.draw_ring(470, 330, 650, 540, "#2f5d62", 38)
    canvas.draw_box(210, 270, 540, 672, "#35696f", 46)
    canvas.draw_box(210, 270, 300, 672, "#3f7a81", 46)
    canvas.draw_box(210, 520, 540, 560, "#e9dcc3")
    canvas.draw_oval(210, 236, 540, 312, "#2a5459")
    canvas.draw_oval(232, 250, 518, 304, "#5a3a22")
    for x in (300, 375, 450):
        canvas.draw_arc(x - 26, 90, x + 26, 150, "#f4e3c6", 11, (90, 270))
        canvas.draw_arc(x - 26, 139, x + 26, 199, "#f4e3c6", 11, (270, 90))


def _draw_board(canvas: Canvas) -> None:
    canvas.draw_oval(130, 690, 690, 740, "#b9a78c")
    canvas.draw_box(362, 70, 438, 300, "#6b452c", 38)
    canvas.draw_box(180, 190, 620, 716, "#6b452c", 70)
    canvas.draw_box(180, 190, 610, 704, "#7d5236", 70)
    canvas.draw_box(370, 76, 430, 260, "#7d5236", 30)
    canvas.draw_oval(384, 98, 416, 130, "#dfe6d8")
    for x, top in ((250, 270), (330, 240), (410, 300), (490, 250), (555, 290)):
        canvas.draw_line("#6b452c", 6, (x, top), (x + 8, 420), (x - 4, 540), (x + 6, 650))
    canvas.draw_polygon("#f3c84b", (300, 560), (470, 500), (490, 600), (310, 620))
    canvas.draw_polygon("#e0ae2f", (310, 620), (490, 600), (490, 632), (312, 652))
    for x, y in ((360, 570), (420, 552), (440, 586)):
        canvas.draw_oval(x, y, x + 22, y + 18, "#d79f22")
    canvas.draw_oval(330, 400, 410, 480, "#8c2f39")
    canvas.draw_oval(398, 420, 466, 488, "#a23b46")


def _draw_candle(canvas: Canvas) -> None:
    canvas.draw_oval(210, 650, 610, 712, "#a98f7d")
    canvas.draw_oval(310, 110, 490, 340, "#f9dfa6")
    canvas.draw_polygon("#f6a821", (400, 130), (444, 238), (400, 292), (356, 238))
    canvas.draw_oval(356, 204, 444, 296, "#f6a821")
    canvas.draw_oval(376, 236, 424, 290, "#fff2cf")
    canvas.draw_line("#3b2c28", 8, (400, 282), (400, 352))
    canvas.draw_box(250, 330, 550, 690, "#d9e3e1", 34)
    canvas.draw_box(262, 360, 538, 678, "#f7efe2", 28)
    canvas.draw_oval(262, 338, 538, 386, "#fff8ec")
    canvas.draw_box(310, 452, 490, 600, "#5b6f5b", 8)
    canvas.draw_box(322, 464, 478, 588, "#66805f", 4)
    canvas.draw_oval(372, 486, 428, 550, "#f7efe2")
    canvas.draw_line("#66805f", 6, (400, 494), (400, 572))
    canvas.draw_box(270, 380, 288, 650, "#ffffff", 9)


def _draw_cushion(canvas: Canvas) -> None:
    canvas.draw_oval(130, 648, 680, 716, "#8d9bab")
    corners = (
        (170, 190),
        (400, 226),
        (630, 190),
        (600, 430),
        (640, 668),
        (400, 640),
        (160, 668),
        (200, 430),
    )
    canvas.draw_polygon("#c8553d", *corners)
    canvas.draw_oval(196, 210, 604, 650, "#c8553d")
    canvas.draw_oval(226, 226, 560, 600, "#d2654c")
    for shift in (0, 80, 160, 240):
        canvas.draw_line(
            "#f2d9c8", 10, (250 + shift, 230), (232 + shift * 1.08, 430), (250 + shift, 632)
        )
    canvas.draw_line("#9f3f2b", 6, (176, 196), (400, 230), (624, 196))
    canvas.draw_oval(384, 414, 416, 446, "#9f3f2b")


def _draw_planter(canvas: Canvas) -> None:
    canvas.draw_oval(200, 672, 620, 726, "#93ab9b")
    for left, right, height in ((250, 400, 150), (400, 550, 150), (300, 420, 90), (380, 500, 90)):
        middle = (left + right) / 2
        tip = 40 if middle > 400 else -40
        canvas.draw_polygon(
            "#2e6b4f", (middle + tip, height), (right - 10, 300), (400, 470), (left + 10, 300)
        )
        canvas.draw_line("#4f9272", 6, (middle + tip * 0.8, height + 40), (400, 460))
    canvas.draw_polygon("#3b8061", (400, 60), (452, 260), (400, 470), (348, 260))
    canvas.draw_line("#66ad8b", 7, (400, 110), (400, 460))
    canvas.draw_polygon("#b5562f", (262, 470), (538, 470), (500, 700), (300, 700))
    canvas.draw_polygon("#c4653b", (262, 470), (370, 470), (360, 700), (300, 700))
    canvas.draw_box(240, 430, 560, 500, "#c4653b", 14)
    canvas.draw_box(240, 430, 560, 448, "#d67b52", 9)
    canvas.draw_box(270, 690, 530, 716, "#a94d28", 12)


def _draw_tote(canvas: Canvas) -> None:
    canvas.draw_oval(190, 676, 620, 730, "#a39bb5")
    canvas.draw_arc(290, 80, 510, 480, "#b9a27c", 24, (180, 360))
    canvas.draw_arc(300, 110, 500, 480, "#8e7a58", 10, (180, 360))
    canvas.draw_polygon("#e8d9b8", (220, 280), (580, 280), (614, 704), (186, 704))
    canvas.draw_polygon("#f0e4c9", (220, 280), (320, 280), (300, 704), (186, 704))
    canvas.draw_box(220, 280, 580, 304, "#d6c39c")
    canvas.draw_box(282, 268, 316, 350, "#b9a27c", 6)
    canvas.draw_box(484, 268, 518, 350, "#b9a27c", 6)
    canvas.draw_oval(320, 410, 480, 570, "#e27d60")
    canvas.draw_oval(352, 442, 448, 538, "#f0e4c9")
    canvas.draw_box(300, 490, 500, 580, "#ecdfc2")
    canvas.draw_line("#41705c", 12, (300, 494), (350, 474), (400, 494), (450, 474), (500, 494))


def _scale_points(*points: Point) -> list[Point]:
    return [(x * SCALE, y * SCALE) for x, y in points]


#: Colour of the wall, colour of the table, and the function that draws the product.
_PICTURES: dict[str, tuple[str, str, DrawFunction]] = {
    "mug": ("#f3e2c0", "#dcb57f", _draw_mug),
    "board": ("#dfe6d8", "#c9bda4", _draw_board),
    "candle": ("#ecd9cc", "#c4a994", _draw_candle),
    "cushion": ("#c9d6e2", "#a5b4c4", _draw_cushion),
    "planter": ("#d9e8dc", "#abc3b2", _draw_planter),
    "tote": ("#dcd6e6", "#bab2cc", _draw_tote),
}
