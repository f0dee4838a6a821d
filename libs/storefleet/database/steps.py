"""Rows of steps: read them, and arrange them as parameters of the statements that write them."""

from collections.abc import Sequence
from typing import Any

from storefleet.core.models import Step
from storefleet.database.connection import Connection, Record
from storefleet.database.statements import load_statement

_COLUMNS = "name, title, state, started_at, finished_at, message"
_SAVE_STEPS = load_statement("save_steps")


def make_step(record: Record) -> Step:
    """Make a step from a row; other columns than the step's are ignored."""
    return Step.model_validate(dict(record))


def make_column_arguments(steps: Sequence[Step]) -> dict[str, list[Any]]:
    """Arrange steps as the array parameters `step_*` and `steps_*` of the SQL statements."""
    return {
        "step_positions": list(range(1, len(steps) + 1)),
        "step_names": [step.name for step in steps],
        "step_titles": [step.title for step in steps],
        "step_states": [step.state for step in steps],
        "steps_started_at": [step.started_at for step in steps],
        "steps_finished_at": [step.finished_at for step in steps],
        "step_messages": [step.message for step in steps],
    }


class StepRepository:
    """Reads and writes the steps of operations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_of_operation(self, operation_id: str) -> list[Step]:
        """List the steps of an operation in their order."""
        records = await self._connection.fetch(
            f"SELECT {_COLUMNS} FROM steps WHERE operation_id = $1 ORDER BY position",
            operation_id,
        )
        return [make_step(record) for record in records]

    async def list_of_operations(self, operation_ids: Sequence[str]) -> dict[str, list[Step]]:
        """List the steps of several operations in one query, by operation id."""
        steps: dict[str, list[Step]] = {operation_id: [] for operation_id in operation_ids}
        records = await self._connection.fetch(
            f"""
            SELECT operation_id, {_COLUMNS} FROM steps WHERE operation_id = ANY($1)
            ORDER BY operation_id, position""",
            list(operation_ids),
        )
        for record in records:
            steps[record["operation_id"]].append(make_step(record))
        return steps

    async def save(self, operation_id: str, steps: Sequence[Step]) -> None:
        """Write the steps of an operation; unchanged rows are not touched."""
        await self._connection.execute(
            *_SAVE_STEPS.bind(operation_id=operation_id, **make_column_arguments(steps))
        )
