"""Models of the platform's objects, as the services pass them to each other.

They are immutable. `to_json` returns the JSON object that the HTTP API and events contain.
"""

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from storefleet.core.lifecycle import (
    Activity,
    OperationKind,
    OperationState,
    StepState,
    StoreState,
    choose_activity,
)
from storefleet.core.observed import CronState, StorefrontClass
from storefleet.core.operation_inputs import (
    CreateInput,
    OperationInput,
    VersionInput,
    parse_operation_input,
)

Scope = Literal["stores:read", "stores:write", "credentials:read", "tokens:write", "operator"]

#: The service that works on each kind of operation.
SERVICE_BY_KIND: dict[OperationKind, str] = {
    OperationKind.CREATE: "provisioner",
    OperationKind.UPGRADE: "provisioner",
    OperationKind.ROLLBACK: "provisioner",
    OperationKind.DELETE: "reaper",
}
_UNOBSERVED: dict[str, Any] = {
    "storefront": StorefrontClass.UNKNOWN,
    "storefront_checked_at": None,
    "cron": CronState.NONE,
}
OWNER_SCOPES: tuple[Scope, ...] = (
    "stores:read",
    "stores:write",
    "credentials:read",
    "tokens:write",
)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def format_timestamp(value: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC with milliseconds and `Z`; None stays None."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FrozenModel(BaseModel):
    """An immutable model. It ignores unknown fields, so that a newer version can add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Failure(FrozenModel):
    """Why an operation or store failed, in words for people; `next` is what they can do."""

    code: str
    detail: str
    step: str | None = None
    next: str
    retryable: bool = True


class Store(FrozenModel):
    """A store; `version` is incremented with every change of it.

    `storefront`, `storefront_checked_at` and `cron` are what was observed since it became ready.
    """

    id: str
    tenant_id: str
    name: str
    engine: str
    engine_version: str
    parameters: dict[str, Any]
    state: StoreState
    url: str | None
    admin_url: str | None
    failure: Failure | None
    created_at: datetime
    ready_at: datetime | None
    deleted_at: datetime | None
    version: int
    plan: str = ""
    storefront: StorefrontClass = StorefrontClass.UNKNOWN
    storefront_checked_at: datetime | None = None
    cron: CronState = CronState.NONE

    def copy_with(self, **fields: Any) -> "Store":
        """Return a copy with changed fields and the version incremented.

        A change of the state resets what was observed; in the row, a trigger does so.

        Args:
            **fields: The new values. Without any, the store itself is returned.
        """
        if fields.get("state", self.state) != self.state:
            fields = {**_UNOBSERVED, **fields}
        return self.model_copy(update={**fields, "version": self.version + 1}) if fields else self

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the HTTP API."""
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "name": self.name,
            "engine": self.engine,
            "engine_version": self.engine_version,
            "plan": self.plan,
            "parameters": self.parameters,
            "state": self.state,
            "url": self.url,
            "admin_url": self.admin_url,
            "failure": self.failure.model_dump() if self.failure else None,
            "created_at": format_timestamp(self.created_at),
            "ready_at": format_timestamp(self.ready_at),
            "deleted_at": format_timestamp(self.deleted_at),
            "version": self.version,
            "observed": {
                "storefront": self.storefront,
                "checked_at": format_timestamp(self.storefront_checked_at),
                "cron": self.cron,
            },
        }


class Step(FrozenModel):
    """A step of an operation; `message` is its latest status message."""

    name: str
    title: str
    state: StepState = StepState.PENDING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the HTTP API."""
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "started_at": format_timestamp(self.started_at),
            "finished_at": format_timestamp(self.finished_at),
            "message": self.message,
        }


class Operation(FrozenModel):
    """A unit of long-running work on one store (AIP-151).

    Attributes:
        error: Why the operation failed. An open upgrade that has one is in its automatic rollback.
        attempt: The number of the current attempt, from 1.
        fence: The fencing token; every claim increments it.
        deadline: The time after which a transient failure ends the operation.
        run_after: The time before which no worker claims the operation.
        taken_over: Whether the latest claim replaced an owner whose lease had expired.
        input: What was requested.
        baseline: What the store answered before a version change, as the runtime recorded it.
    """

    id: str
    tenant_id: str
    store_id: str
    kind: OperationKind
    state: OperationState
    error: Failure | None
    attempt: int
    cancel_requested: bool
    fence: int
    request_id: str | None
    deadline: datetime
    run_after: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    steps: tuple[Step, ...] = ()
    taken_over: bool = False
    input: OperationInput = Field(default_factory=CreateInput)
    baseline: dict[str, Any] | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _parse_input(cls, value: Any, info: ValidationInfo) -> Any:
        """Parse the JSON object of the row by the kind, which is validated before it."""
        if isinstance(value, OperationInput) or "kind" not in info.data:
            return value
        return parse_operation_input(info.data["kind"], value)

    @property
    def done(self) -> bool:
        """Whether the operation is in a final state (the field `done` of AIP-151)."""
        return self.state.is_final

    @property
    def versions(self) -> VersionInput:
        """The versions before and after an upgrade or a rollback.

        Raises:
            TypeError: The operation is of another kind.
        """
        if not isinstance(self.input, VersionInput):
            raise TypeError(f"The operation {self.id} ({self.kind}) has no versions.")
        return self.input

    @property
    def is_rolling_back(self) -> bool:
        """Whether the operation is an upgrade in its automatic rollback."""
        return self.kind == OperationKind.UPGRADE and self.error is not None and not self.done

    @property
    def activity(self) -> Activity:
        """The activity of the operation's kind, or the automatic rollback of an upgrade."""
        return choose_activity(self.kind, is_rolling_back=self.is_rolling_back)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the HTTP API."""
        return {
            "id": self.id,
            "store_id": self.store_id,
            "kind": self.kind,
            "input": self.input.to_json(),
            "state": self.state,
            "done": self.done,
            "error": self.error.model_dump() if self.error else None,
            "attempt": self.attempt,
            "cancel_requested": self.cancel_requested,
            "request_id": self.request_id,
            "steps": [step.to_json() for step in self.steps],
            "created_at": format_timestamp(self.created_at),
            "started_at": format_timestamp(self.started_at),
            "finished_at": format_timestamp(self.finished_at),
        }


class Event(FrozenModel):
    """A past-tense fact about a store; `seq` is None until the relay has numbered it."""

    id: str
    seq: int | None
    tenant_id: str
    store_id: str
    operation_id: str | None
    type: str
    time: datetime
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the HTTP API."""
        return {
            "seq": self.seq,
            "id": self.id,
            "type": self.type,
            "time": format_timestamp(self.time),
            "store_id": self.store_id,
            "operation_id": self.operation_id,
            "data": self.data,
        }


class Principal(FrozenModel):
    """The user or the token that sent a request."""

    tenant_id: str
    tenant_name: str
    user_id: str
    email: str
    operator: bool
    scopes: frozenset[str]
    token_id: str | None = None
    session_hash: bytes | None = None
    csrf: str | None = None

    def has_scope(self, scope: Scope) -> bool:
        """Return whether the principal has a scope."""
        return scope in self.scopes


class AdminCredentials(NamedTuple):
    """Address, user name and password of a store's admin; the repr hides the password."""

    admin_url: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"AdminCredentials(admin_url={self.admin_url!r}, username={self.username!r})"
