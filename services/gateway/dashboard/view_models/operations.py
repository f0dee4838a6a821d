"""View model of an operation: its steps, its progress and the orders that a rollback would lose."""

from typing import Any

from storefleet.core.models import Failure, Operation, Step


def make_operation_view(operation: Operation | None) -> dict[str, Any] | None:
    """Make the view of an operation, with the position of the current step.

    During and after an automatic rollback, steps of the upgrade that never started are `skipped`
    and not counted.
    """
    if operation is None:
        return None
    has_rollback_steps = any(_is_rollback_step(step) for step in operation.steps)
    is_rolling_back = has_rollback_steps or (operation.error is not None and not operation.done)
    steps = [
        _make_skipped_step(step)
        if has_rollback_steps and _is_skipped_by_rollback(step)
        else step.to_json()
        for step in operation.steps
    ]
    counted_states = [step["state"] for step in steps if step["state"] != "skipped"]
    return {
        **operation.to_json(),
        "steps": steps,
        "is_automatic_rollback": is_rolling_back,
        "lost_orders": _list_lost_orders(operation.error),
        "position": _find_step_position(counted_states, is_rollback=has_rollback_steps),
        "total": len(counted_states),
    }


def _list_lost_orders(error: Failure | None) -> dict[str, Any] | None:
    """Split the explanation into its introduction and the orders, if it names several."""
    if error is None or error.code != "orders_would_be_lost":
        return None
    before, separator, listed = error.detail.partition(" lost: ")
    orders = listed.removesuffix(".").split("; ")
    if len(orders) < 2:
        return None
    return {"intro": f"{before}{separator}".strip(), "orders": orders}


def _is_rollback_step(step: Step) -> bool:
    return step.name.startswith("rollback-")


def _is_skipped_by_rollback(step: Step) -> bool:
    return step.started_at is None and not _is_rollback_step(step)


def _make_skipped_step(step: Step) -> dict[str, Any]:
    return {**step.to_json(), "state": "skipped", "finished_at": None, "message": ""}


def _find_step_position(states: list[str], *, is_rollback: bool) -> int:
    """Return the position of the step that is running or that ran last, counted from 1."""
    for number, state in enumerate(states, start=1):
        if state == "running" or (state in ("failed", "cancelled") and not is_rollback):
            return number
    return min(sum(state != "pending" for state in states) + 1, len(states))
