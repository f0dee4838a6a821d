"""The sample products and categories of a new store; its owner replaces them."""

from dataclasses import dataclass
from decimal import Decimal

PARTNER = "Own stock"
PRODUCT_CLASS = "Goods"
STOCK = 1000
CATEGORIES = {
    "Kitchen": "Tableware and tools for every day.",
    "Living": "Light, textiles and plants for the living room.",
    "On the way": "Bags and accessories.",
}


@dataclass(frozen=True)
class SampleProduct:
    """A product as Oscar's catalogue stores it; `picture` names an illustration of pictures.py."""

    upc: str
    title: str
    category: str
    price: Decimal
    picture: str
    description: str


SAMPLE_PRODUCTS = (
    SampleProduct(
        upc="SF-MUG-01",
        title="Stoneware Mug",
        category="Kitchen",
        price=Decimal("18.00"),
        picture="mug",
        description=(
            "<p>A stoneware mug with a heavy base that keeps coffee warm. Glazed inside and out,"
            " 350 ml.</p>"
            "<ul><li>Dishwasher and microwave safe</li><li>Large handle</li></ul>"
        ),
    ),
    SampleProduct(
        upc="SF-BOARD-01",
        title="Walnut Serving Board",
        category="Kitchen",
        price=Decimal("42.50"),
        picture="board",
        description=(
            "<p>A board of oiled walnut, cut with the grain, with rounded edges. Use one side for"
            " bread and the other for cheese.</p>"
            "<ul><li>40 by 18 cm, 2 cm thick</li><li>Wipe clean, oil twice a year</li></ul>"
        ),
    ),
    SampleProduct(
        upc="SF-CANDLE-01",
        title="Soy Wax Candle",
        category="Living",
        price=Decimal("24.00"),
        picture="candle",
        description=(
            "<p>A candle with the scent of fig leaf and cedar, in a reusable glass. Burns for about"
            " 45 hours.</p><ul><li>Pure soy wax, cotton wick</li><li>220 g</li></ul>"
        ),
    ),
    SampleProduct(
        upc="SF-CUSHION-01",
        title="Linen Cushion",
        category="Living",
        price=Decimal("36.00"),
        picture="cushion",
        description=(
            "<p>Washed linen with a feather filling. The cover has a hidden zip and can be"
            " removed.</p><ul><li>45 by 45 cm</li><li>Machine wash at 40 °C</li></ul>"
        ),
    ),
    SampleProduct(
        upc="SF-PLANTER-01",
        title="Terracotta Planter",
        category="Living",
        price=Decimal("29.00"),
        picture="planter",
        description=(
            "<p>An unglazed clay pot with a matching saucer. The plant in the picture is not"
            " included.</p><ul><li>16 cm across</li><li>Drainage hole</li></ul>"
        ),
    ),
    SampleProduct(
        upc="SF-TOTE-01",
        title="Canvas Tote Bag",
        category="On the way",
        price=Decimal("21.00"),
        picture="tote",
        description=(
            "<p>Twelve-ounce cotton canvas with long handles and an inside pocket for keys. Large"
            " enough for a week of groceries.</p>"
            "<ul><li>38 by 42 cm</li><li>Machine wash cold</li></ul>"
        ),
    ),
)
