"""Choose the runtime's steps for an operation: one step plan for each kind of operation.

The provisioner runs `make_provisioning_plans`, the reaper `make_deletion_plans`.
"""

from collections.abc import Callable, Mapping, Sequence

from storefleet.core.lifecycle import OperationKind
from storefleet.core.models import Operation, Store
from storefleet.runtimes.protocol import Runtime, RuntimeStep, VersionChange

#: A function that lists the steps of an operation on a store, in order.
StepPlan = Callable[[Store, Operation], Sequence[RuntimeStep]]
StepPlans = Mapping[OperationKind, StepPlan]


def make_provisioning_plans(runtime: Runtime) -> StepPlans:
    """Make the step plans that create stores and change their versions.

    Args:
        runtime: Where the stores run.

    Returns:
        The plans of `create`, `upgrade` and `rollback`.
    """
    return {
        OperationKind.CREATE: lambda store, _operation: runtime.create_steps(store),
        OperationKind.UPGRADE: lambda store, operation: _list_upgrade_steps(
            runtime, store, operation
        ),
        OperationKind.ROLLBACK: lambda store, operation: runtime.rollback_steps(
            store, VersionChange.from_operation(operation)
        ),
    }


def make_deletion_plans(runtime: Runtime) -> StepPlans:
    """Make the step plan that deletes stores.

    Args:
        runtime: Where the stores run.

    Returns:
        The plan of `delete`.
    """
    return {OperationKind.DELETE: lambda store, _operation: runtime.delete_steps(store)}


def _list_upgrade_steps(
    runtime: Runtime, store: Store, operation: Operation
) -> Sequence[RuntimeStep]:
    """List the steps of an upgrade, or of its automatic rollback once it has switched to that."""
    change = VersionChange.from_operation(operation)
    if operation.is_rolling_back:
        return runtime.automatic_rollback_steps(store, change)
    return runtime.upgrade_steps(store, change)
