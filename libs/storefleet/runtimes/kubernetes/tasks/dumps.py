"""The dumps of a store's database: what tasks answer of them, and a note of each, kept in the store's namespace."""

import json
from typing import Annotated, Any, NamedTuple

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, ValidationError

from storefleet.core.errors import PermanentError
from storefleet.core.models import Store
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.manifests import Place

NOTES = "storefleet-dumps"
KEPT = 3

Short = Annotated[str, StringConstraints(max_length=80)]


class Dump(BaseModel):
    """A dump is of this moment, and so large."""

    bytes: int = Field(ge=0)
    at: AwareDatetime


class Order(BaseModel):
    number: Short | int
    total: Short | float = ""
    at: Short = ""

    def __str__(self) -> str:
        told = ", ".join(str(each) for each in (self.total, self.at) if each)
        return f"{self.number} ({told})" if told else str(self.number)


class Orders(BaseModel):
    """How many there are since a dump, and some of them."""

    count: int = Field(ge=0)
    orders: tuple[Order, ...] = Field(default=(), max_length=20)


class Answered(NamedTuple):
    """What a task is, and how its answer is read."""

    task: str
    content: dict[str, Any]

    def as_dump(self) -> Dump:
        try:
            return Dump.model_validate(self.content)
        except ValidationError as error:
            raise self._unreadable(error) from None

    def as_orders(self) -> Orders:
        try:
            return Orders.model_validate(self.content)
        except ValidationError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: ValidationError) -> PermanentError:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        return PermanentError(
            "task_failed",
            f"The task “{self.task}” gave an answer that is not as it should be: {where}.",
            next_step="Correct the engine's task, then retry.",
        )


class Dumps:
    """The notes, in a ConfigMap: when the dump of an operation was made."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def find(self, place: Place, operation_id: str) -> Dump | None:
        text = (await self._notes(place)).get(_key(operation_id))
        try:
            return Dump.model_validate_json(text) if text else None
        except ValidationError:
            return None

    async def note(self, store: Store, place: Place, operation_id: str, dump: Dump) -> None:
        """The newest ones are kept, as the dumps themselves are."""
        notes = {**await self._notes(place), _key(operation_id): dump.model_dump_json()}
        newest = sorted(notes, key=lambda key: str(json.loads(notes[key]).get("at")), reverse=True)[
            :KEPT
        ]
        with effect("note_dump"):
            await self._cluster.apply(
                manifests.make_notes(store, NOTES, {key: notes[key] for key in sorted(newest)})
            )

    async def _notes(self, place: Place) -> dict[str, str]:
        found = await self._cluster.get(resource_kinds.CONFIG_MAP, NOTES, namespace=place.namespace)
        return dict((found or {}).get("data") or {})


def _key(operation_id: str) -> str:
    return operation_id.replace("_", "-")
