"""Count views, baskets and purchases of products without failing the pages that are counted.

Oscar's own counter continues after an IntegrityError. In a transaction, which every request has
here, PostgreSQL refuses that: the first two customers of a new product would get an error page.
"""

from typing import Any

from django.db.models import F
from oscar.core.loading import get_model


def install_counter() -> None:
    """Let Oscar's receivers count with these functions; Oscar has no setting for it."""
    from oscar.apps.analytics import receivers

    receivers._update_counter = update_counter  # noqa: SLF001
    receivers._record_user_order = record_user_order  # noqa: SLF001


def update_counter(
    model: Any, field_name: str, filter_kwargs: dict[str, Any], increment: int = 1
) -> None:
    """Increment a counter in the row that `filter_kwargs` finds, or create the row."""
    record, is_new = model.objects.get_or_create(**filter_kwargs, defaults={field_name: increment})
    if not is_new:
        model.objects.filter(pk=record.pk).update(**{field_name: F(field_name) + increment})


def record_user_order(user: Any, order: Any) -> None:
    """Add an order to the row of its user."""
    amounts = {
        "num_orders": 1,
        "num_order_lines": order.num_lines,
        "num_order_items": order.num_items,
        "total_spent": order.total_incl_tax,
    }
    date = {"date_last_order": order.date_placed}
    records = get_model("analytics", "UserRecord").objects
    record, is_new = records.get_or_create(user=user, defaults={**amounts, **date})
    if not is_new:
        sums = {name: F(name) + amount for name, amount in amounts.items()}
        records.filter(pk=record.pk).update(**sums, **date)
