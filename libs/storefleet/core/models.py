"""Models of the platform's objects, as the services pass them to each other.

They are immutable. `to_json` returns an object's shape in the HTTP API and in events.
"""

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

StoreState = Literal[
    "requested",
    "provisioning",
    "ready",
    "upgrading",
    "rolling_back",
    "failed",
    "deleting",
    "deleted",
]
OperationKind = Literal["create", "upgrade", "rollback", "delete"]
OperationState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
StepState = Literal["pending", "running", "succeeded", "failed", "cancelled"]
Scope = Literal["stores:read", "stores:write", "credentials:read", "tokens:write", "operator"]

#: The service that works on each kind of operation.
SERVICE_BY_KIND: dict[str, str] = {
    "create": "provisioner",
    "upgrade": "provisioner",
    "rollback": "provisioner",
    "delete": "reaper",
}
STORE_STATES: tuple[str, ...] = get_args(StoreState)
FINAL_OPERATION_STATES = ("succeeded", "failed", "cancelled")
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
    """A model that is immutable and ignores unknown fields, so that newer senders may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Failure(FrozenModel):
    """Why an operation or store failed, for a person; `next` is what to do about it."""

    code: str
    detail: str
    step: str | None = None
    next: str
    retryable: bool = True


class Store(FrozenModel):
    """A store; `version` is incremented with every write of its row."""

    id: str
    tenant_id: str
    name: str
    engine: str
    engine_version: str
    parameters: dict[str, Any]
    state: str
    url: str | None
    admin_url: str | None
    failure: Failure | None
    created_at: datetime
    ready_at: datetime | None
    deleted_at: datetime | None
    version: int
    plan: str = ""

    def copy_with(self, **fields: Any) -> "Store":
        """Return the store with changed fields and its version incremented.

        Without fields the store itself is returned.
        """
        return self.model_copy(update={**fields, "version": self.version + 1}) if fields else self

    def to_json(self) -> dict[str, Any]:
        """Return the shape of the HTTP API."""
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
        }


class Step(FrozenModel):
    """A step of an operation; `message` is its progress for people."""

    name: str
    title: str
    state: StepState = "pending"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the shape of the HTTP API."""
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "started_at": format_timestamp(self.started_at),
            "finished_at": format_timestamp(self.finished_at),
            "message": self.message,
        }


class Operation(FrozenModel):
    """A unit of long-running work on one store (AIP-151); every claim increments `fence`.

    `input` is what was requested. An upgrade that runs with an `error` is in its automatic rollback
    because of that error. `taken_over` says that the previous owner let its lease expire.
    """

    id: str
    tenant_id: str
    store_id: str
    kind: str
    state: str
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
    input: dict[str, Any] = Field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the operation is in a final state (the field `done` of AIP-151)."""
        return self.state in FINAL_OPERATION_STATES

    def to_json(self) -> dict[str, Any]:
        """Return the shape of the HTTP API."""
        return {
            "id": self.id,
            "store_id": self.store_id,
            "kind": self.kind,
            "input": self.input,
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
        """Return the shape of the HTTP API."""
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
        """Return whether the principal has a permission."""
        return scope in self.scopes


class AdminCredentials(NamedTuple):
    """Where and with what a store's owner signs in to the admin; the repr hides the password."""

    admin_url: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(admin_url={self.admin_url!r}, username={self.username!r})"


def make_event_data(store: Store, operation: Operation | None) -> dict[str, Any]:
    """Make the data of an event: enough to display the store without another request.

    The store's parameters are left out.
    """
    shape = store.to_json()
    shape.pop("parameters")
    data: dict[str, Any] = {"store": shape}
    if operation is not None:
        data["operation"] = operation.to_json()
    return data
