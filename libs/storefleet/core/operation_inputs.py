"""The inputs of operations: a frozen model for each kind of operation.

The column `operations.input` and the API contain the models as JSON objects, with `from` and `to`
for the two versions. `Operation.input` is the model of the operation's kind.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from storefleet.core.lifecycle import OperationKind


class OperationInput(BaseModel):
    """Base class of the inputs of all kinds."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object for the column and the API."""
        return self.model_dump(by_alias=True)


class CreateInput(OperationInput):
    """The empty input of a creation, which reads everything from the store's row."""


class DeleteInput(OperationInput):
    """The empty input of a deletion, which reads everything from the store's row."""


class VersionInput(OperationInput):
    """Base class of the inputs that change the engine version.

    Attributes:
        from_version: The store's version before.
        to_version: The store's version afterwards.
    """

    from_version: str = Field(alias="from")
    to_version: str = Field(alias="to")


class UpgradeInput(VersionInput):
    """The input of `upgrade`."""


class RollbackInput(VersionInput):
    """The input of `rollback`, to the version before an upgrade.

    Attributes:
        restore: Whether to restore the database dump that was taken before the upgrade.
        discard_orders: Whether the orders placed since that dump may be lost.
        dump: The id of the upgrade operation that created the dump.
    """

    restore: bool = False
    discard_orders: bool = False
    dump: str


_MODEL_BY_KIND: Mapping[OperationKind, type[OperationInput]] = {
    OperationKind.CREATE: CreateInput,
    OperationKind.UPGRADE: UpgradeInput,
    OperationKind.ROLLBACK: RollbackInput,
    OperationKind.DELETE: DeleteInput,
}


def parse_operation_input(kind: OperationKind, value: Mapping[str, Any]) -> OperationInput:
    """Parse the JSON object of the column `operations.input`.

    Args:
        kind: The operation's kind.
        value: The JSON object.

    Returns:
        The model of that kind.

    Raises:
        pydantic.ValidationError: The object does not fit the kind.
    """
    return _MODEL_BY_KIND[kind].model_validate(value)
