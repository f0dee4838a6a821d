"""The shipping methods of a store."""

from decimal import Decimal

from oscar.apps.shipping import methods


class Standard(methods.FixedPrice):  # type: ignore[misc]
    """Standard delivery at a flat rate."""

    code = "standard"
    name = "Standard delivery"
    description = "3 to 5 working days, paid together with the products on delivery"
    charge_excl_tax = charge_incl_tax = Decimal("4.90")
