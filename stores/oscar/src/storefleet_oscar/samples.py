"""The goods that a new shop begins with: real enough to buy, easy to replace."""

from dataclasses import dataclass
from decimal import Decimal

PARTNER = "Own stock"
PRODUCT_CLASS = "Goods"
STOCK = 1000
CATEGORIES = {
    "Kitchen": "Things that are used every day and washed up every evening.",
    "Living": "Light, warmth and something green for the room you are in most.",
    "On the way": "Made to be carried, filled and worn in.",
}


@dataclass(frozen=True)
class Sample:
    upc: str
    title: str
    category: str
    price: Decimal
    picture: str
    description: str


SAMPLES = (
    Sample(
        upc="SF-MUG-01",
        title="Stoneware Mug",
        category="Kitchen",
        price=Decimal("18.00"),
        picture="mug",
        description=(
            "<p>A heavy-bottomed mug that keeps coffee warm through a long phone call. Thrown in one piece, glazed "
            "inside and out, 350 ml.</p>"
            "<ul><li>Dishwasher and microwave safe</li><li>Handle for three fingers</li></ul>"
        ),
    ),
    Sample(
        upc="SF-BOARD-01",
        title="Walnut Serving Board",
        category="Kitchen",
        price=Decimal("42.50"),
        picture="board",
        description=(
            "<p>One plank of oiled walnut, cut with the grain and rounded where the hand goes. Bread on one side, "
            "cheese on the other.</p><ul><li>40 by 18 cm, 2 cm thick</li><li>Wipe clean, oil twice a year</li></ul>"
        ),
    ),
    Sample(
        upc="SF-CANDLE-01",
        title="Soy Wax Candle",
        category="Living",
        price=Decimal("24.00"),
        picture="candle",
        description=(
            "<p>Fig leaf and a little cedar, poured into a glass that is worth keeping afterwards. Burns for about "
            "45 hours.</p><ul><li>Pure soy wax, cotton wick</li><li>220 g</li></ul>"
        ),
    ),
    Sample(
        upc="SF-CUSHION-01",
        title="Linen Cushion",
        category="Living",
        price=Decimal("36.00"),
        picture="cushion",
        description=(
            "<p>Washed linen over a feather filling, soft from the first evening. The cover comes off with a hidden "
            "zip.</p><ul><li>45 by 45 cm</li><li>Machine wash at 40 °C</li></ul>"
        ),
    ),
    Sample(
        upc="SF-PLANTER-01",
        title="Terracotta Planter",
        category="Living",
        price=Decimal("29.00"),
        picture="planter",
        description=(
            "<p>Unglazed clay that lets roots breathe, with a saucer that belongs to it. The plant in the picture is "
            "yours to choose.</p><ul><li>16 cm across</li><li>Drainage hole</li></ul>"
        ),
    ),
    Sample(
        upc="SF-TOTE-01",
        title="Canvas Tote Bag",
        category="On the way",
        price=Decimal("21.00"),
        picture="tote",
        description=(
            "<p>Twelve-ounce cotton canvas with long handles and a pocket for keys. Carries a week of vegetables and "
            "gets better looking.</p><ul><li>38 by 42 cm</li><li>Machine wash cold</li></ul>"
        ),
    ),
)
