"""Which of the runtime's steps an operation has."""

from collections.abc import Callable, Mapping, Sequence

from storefleet.core.models import Operation, Store
from storefleet.runtimes.protocol import Runtime, RuntimeStep, VersionChange

StepPlan = Callable[[Store, Operation], Sequence[RuntimeStep]]
#: By kind of operation.
StepPlans = Mapping[str, StepPlan]


def make_provisioning_plans(runtime: Runtime) -> StepPlans:
    """What makes stores, and changes them."""
    return {
        "create": lambda store, _operation: runtime.create_steps(store),
        "upgrade": lambda store, operation: _list_upgrade_steps(runtime, store, operation),
        "rollback": lambda store, operation: runtime.rollback_steps(
            store, VersionChange.of(operation)
        ),
    }


def make_deletion_plans(runtime: Runtime) -> StepPlans:
    """What takes stores away."""
    return {"delete": lambda store, _operation: runtime.delete_steps(store)}


def _list_upgrade_steps(
    runtime: Runtime, store: Store, operation: Operation
) -> Sequence[RuntimeStep]:
    """There, or, with an error to tell, back."""
    change = VersionChange.of(operation)
    return (
        runtime.automatic_rollback_steps(store, change)
        if operation.error
        else runtime.upgrade_steps(store, change)
    )
