"""Measure and log the steps and the end of an operation for `run.py`."""

from storefleet.core.lifecycle import OperationState
from storefleet.core.models import Operation, utc_now
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)


def observe_step(operation: Operation, step_name: str, outcome: str, elapsed_s: float) -> None:
    """Measure and log one run of a step.

    Args:
        operation: The operation of the step.
        step_name: The step's name.
        outcome: `succeeded`, `waiting` or `failed`.
        elapsed_s: How long it ran, in seconds.
    """
    metrics.STEP_DURATION.labels(operation.kind, step_name, outcome).observe(elapsed_s)
    log.info("step_ended", outcome=outcome, seconds=round(elapsed_s, 3))


def observe_operation_end(operation: Operation, outcome: OperationState) -> None:
    """Measure and log the end of an operation, from its creation on.

    Args:
        operation: The operation.
        outcome: Its final state.
    """
    kind = operation.kind
    elapsed_s = (utc_now() - operation.created_at).total_seconds()
    metrics.OPERATIONS_ENDED.labels(kind, outcome).inc()
    metrics.OPERATION_DURATION.labels(kind).observe(elapsed_s)
    log.info("operation_ended", kind=kind, outcome=outcome, seconds=round(elapsed_s, 3))
