"""The dumps of a store's database: what tasks answer of them, and a note of each, kept in the store's namespace."""

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
MAX_DUMPS = 3

ShortText = Annotated[str, StringConstraints(max_length=80)]


class DumpRecord(BaseModel):
    """A dump is of this moment, and so large."""

    bytes: int = Field(ge=0)
    at: AwareDatetime


class OrderSummary(BaseModel):
    number: ShortText | int
    total: ShortText | float = ""
    at: ShortText = ""

    def __str__(self) -> str:
        told = ", ".join(str(each) for each in (self.total, self.at) if each)
        return f"{self.number} ({told})" if told else str(self.number)


class OrderCount(BaseModel):
    """How many there are since a dump, and some of them."""

    count: int = Field(ge=0)
    orders: tuple[OrderSummary, ...] = Field(default=(), max_length=20)


class TaskResult(NamedTuple):
    """What a task is, and how its answer is read."""

    task: str
    content: dict[str, Any]

    def parse_dump(self) -> DumpRecord:
        try:
            return DumpRecord.model_validate(self.content)
        except ValidationError as error:
            raise self._make_parse_error(error) from None

    def parse_order_count(self) -> OrderCount:
        try:
            return OrderCount.model_validate(self.content)
        except ValidationError as error:
            raise self._make_parse_error(error) from None

    def _make_parse_error(self, error: ValidationError) -> PermanentError:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        return PermanentError(
            "task_failed",
            f"The task “{self.task}” gave an answer that is not as it should be: {where}.",
            next_step="Correct the engine's task, then retry.",
        )


class DumpRecords:
    """The notes, in a ConfigMap: when the dump of an operation was made."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def find_dump(self, place: StoreLocation, operation_id: str) -> DumpRecord | None:
        text = (await self._read_records(place)).get(_make_key(operation_id))
        try:
            return DumpRecord.model_validate_json(text) if text else None
        except ValidationError:
            return None

    async def record_dump(
        self, store: Store, place: StoreLocation, operation_id: str, dump: DumpRecord
    ) -> None:
        """The newest ones are kept, as the dumps themselves are."""
        notes = {**await self._read_records(place), _make_key(operation_id): dump.model_dump_json()}
        newest = sorted(notes, key=lambda key: str(json.loads(notes[key]).get("at")), reverse=True)[
            :MAX_DUMPS
        ]
        with effect("note_dump"):
            await self._client.apply(
                manifests.make_config_map(
                    store, DUMPS_CONFIG_MAP, {key: notes[key] for key in sorted(newest)}
                )
            )

    async def _read_records(self, place: StoreLocation) -> dict[str, str]:
        found = await self._client.get(
            resource_kinds.CONFIG_MAP, DUMPS_CONFIG_MAP, namespace=place.namespace
        )
        return dict((found or {}).get("data") or {})


def _make_key(operation_id: str) -> str:
    return operation_id.replace("_", "-")
