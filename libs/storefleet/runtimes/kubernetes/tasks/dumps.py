"""Results of a store's tasks, and the records of its dumps in a ConfigMap of its namespace."""

import json
from typing import Annotated, Any, NamedTuple

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, ValidationError

from storefleet.core.errors import PermanentError
from storefleet.core.models import Store
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.manifests import StoreLocation

DUMPS_CONFIG_MAP = "storefleet-dumps"
#: Dumps kept per store; the tasks of the engines keep as many files.
MAX_DUMPS = 3

ShortText = Annotated[str, StringConstraints(max_length=80)]


class DumpRecord(BaseModel):
    """Size and time of a dump, as the task `dump` reports them."""

    bytes: int = Field(ge=0)
    at: AwareDatetime


class OrderSummary(BaseModel):
    """An order, as the task `orders` reports it."""

    number: ShortText | int
    total: ShortText | float = ""
    at: ShortText = ""

    def __str__(self) -> str:
        details = ", ".join(str(each) for each in (self.total, self.at) if each)
        return f"{self.number} ({details})" if details else str(self.number)


class OrderCount(BaseModel):
    """The number of orders since a dump, and up to 20 of them."""

    count: int = Field(ge=0)
    orders: tuple[OrderSummary, ...] = Field(default=(), max_length=20)


class TaskResult(NamedTuple):
    """The JSON result of a task, not validated yet."""

    task: str
    content: dict[str, Any]

    def parse_dump(self) -> DumpRecord:
        """Parse the result of the task `dump`.

        Raises:
            PermanentError: The result does not have the documented fields.
        """
        try:
            return DumpRecord.model_validate(self.content)
        except ValidationError as error:
            raise self._make_parse_error(error) from None

    def parse_order_count(self) -> OrderCount:
        """Parse the result of the task `orders`.

        Raises:
            PermanentError: The result does not have the documented fields.
        """
        try:
            return OrderCount.model_validate(self.content)
        except ValidationError as error:
            raise self._make_parse_error(error) from None

    def _make_parse_error(self, error: ValidationError) -> PermanentError:
        problems = (
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3]
        )
        return PermanentError(
            "task_failed",
            f"The task “{self.task}” returned an invalid result: {'; '.join(problems)}.",
            next_step="Correct the engine's task, then retry.",
        )


class DumpRecords:
    """Reads and writes the ConfigMap with one entry per dump, keyed by operation."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def find_dump(self, location: StoreLocation, operation_id: str) -> DumpRecord | None:
        """Return the record of an operation's dump; None if it is not kept any more."""
        text = (await self._read_records(location)).get(_make_key(operation_id))
        try:
            return DumpRecord.model_validate_json(text) if text else None
        except ValidationError:
            return None

    async def record_dump(
        self, store: Store, location: StoreLocation, operation_id: str, dump: DumpRecord
    ) -> None:
        """Record a dump, and keep the records of the newest three."""
        records = await self._read_records(location)
        records[_make_key(operation_id)] = dump.model_dump_json()
        newest = sorted(
            records, key=lambda key: str(json.loads(records[key]).get("at")), reverse=True
        )[:MAX_DUMPS]
        kept = {key: records[key] for key in sorted(newest)}
        with effect("record_dump"):
            await self._client.apply(manifests.make_config_map(store, DUMPS_CONFIG_MAP, kept))

    async def _read_records(self, location: StoreLocation) -> dict[str, str]:
        config_map = await self._client.get(
            resource_kinds.CONFIG_MAP, DUMPS_CONFIG_MAP, namespace=location.namespace
        )
        return dict((config_map or {}).get("data") or {})


def _make_key(operation_id: str) -> str:
    return operation_id.replace("_", "-")
