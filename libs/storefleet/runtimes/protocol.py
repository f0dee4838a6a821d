"""The protocol of a runtime, and what its steps receive and return.

A runtime defines the steps of each operation and reads what it keeps for a store. Workers, leases,
retries, events and states belong to `storefleet.operations`, not to a runtime.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from storefleet.core.models import AdminCredentials, Operation, Store
from storefleet.core.operation_inputs import RollbackInput
from storefleet.runtimes.storefront_observation import StorefrontObservation


class Address(NamedTuple):
    """The URLs of a store's storefront and admin."""

    url: str
    admin_url: str


class StepResult(NamedTuple):
    """What a successful step returns.

    Attributes:
        message: A status message for people.
        address: The store's address, if known.
        baseline: What the store answered before a version change; recorded with the operation, so
            that a takeover still has it. None keeps what is recorded.
        warning: What failed although the store serves, as a sentence; the error of an operation
            that rolled back automatically contains it.
    """

    message: str = ""
    address: Address | None = None
    baseline: StorefrontObservation | None = None
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class MailOutbox:
    """Where the platform reads the mails of a store, and the key that opens them.

    Attributes:
        url: The outbox, as the platform reaches it inside the cluster or on this machine.
        host: The `Host` header: the store's public host and port.
        scheme: The scheme that customers use, for `X-Forwarded-Proto`.
        key: The store's key; the repr hides it.
    """

    url: str
    host: str
    scheme: str = "http"
    key: str = field(repr=False)


class ResourceUsage(NamedTuple):
    """How much of one resource of its plan a store uses.

    Attributes:
        name: The resource, such as `limits.memory`.
        used: The used amount, as a Kubernetes quantity.
        hard: The plan's limit, as a Kubernetes quantity.
        share: used / hard, from 0 to 1; None if it cannot be computed.
    """

    name: str
    used: str
    hard: str
    share: float | None = None


@dataclass(frozen=True)
class VersionChange:
    """What an upgrade or a rollback changes.

    Attributes:
        from_version: The version that the store has.
        to_version: The version that it will have.
        restore: Restore the database dump as well.
        discard_orders: Accept that orders since the dump are lost.
        dump_operation_id: The upgrade whose dump is created or restored.
    """

    from_version: str
    to_version: str
    restore: bool = False
    discard_orders: bool = False
    dump_operation_id: str = ""

    @classmethod
    def from_operation(cls, operation: Operation) -> Self:
        """Read the change from the input of an upgrade or a rollback."""
        versions = operation.versions
        if not isinstance(versions, RollbackInput):
            return cls(versions.from_version, versions.to_version, dump_operation_id=operation.id)
        return cls(
            versions.from_version,
            versions.to_version,
            versions.restore,
            versions.discard_orders,
            versions.dump,
        )


async def _accept_ownership() -> None:
    return None


async def _ignore_progress(_message: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step works on, and its connection to the operation that runs it.

    Attributes:
        store: The store; during a version change it still has the previous version.
        operation_id: The operation's id.
        request_id: The request that caused it, for logs.
        change: The version change, for upgrades and rollbacks.
        baseline: What the store answered before the version change; None if it is not known.
        check_ownership: Call it right before an external effect. It raises LeaseLost when another
            worker owns the operation, and CancelRequested when a person cancelled it.
        report_progress: Show what the step waits for, on the step and in an event.
    """

    store: Store
    operation_id: str
    request_id: str | None = None
    change: VersionChange | None = None
    baseline: StorefrontObservation | None = None
    check_ownership: Callable[[], Awaitable[None]] = field(default=_accept_ownership)
    report_progress: Callable[[str], Awaitable[None]] = field(default=_ignore_progress)


class RuntimeStep(NamedTuple):
    """A converging step: it reads the actual state and applies the difference.

    Attributes:
        name: Its id within the operation.
        title: Its name for people.
        run: Its code; it raises PermanentError, TransientError or Wait.
    """

    name: str
    title: str
    run: Callable[[StepContext], Awaitable[StepResult]]


class Runtime(Protocol):
    """Where stores run."""

    #: Whether stores can change their version; if not, admission rejects upgrades and rollbacks.
    supports_version_changes: bool

    def open_resources(self) -> AbstractAsyncContextManager["Runtime"]:
        """Hold connections and background tasks until the context exits."""
        ...

    async def check_available(self) -> None:
        """Check that stores can be created and deleted.

        Raises:
            RuntimeUnavailable: They cannot be; `/readyz` reports it.
        """
        ...

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return the steps that create a store, from nothing or from an earlier attempt."""
        ...

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return the steps that delete a store; the last one verifies that nothing is left."""
        ...

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return the steps of an upgrade; the database is dumped first."""
        ...

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        """Return the steps that undo an upgrade, wherever it stopped.

        Args:
            store: The store, which has `change.from_version`.
            change: The upgrade that is undone.

        Returns:
            Steps whose names begin with `rollback-`.
        """
        ...

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return the steps of a rollback that a person requested.

        A step may raise NothingChanged before the first effect.
        """
        ...

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """Read how much of its plan a store uses; None where nothing limits stores."""
        ...

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        """Read the generated admin credentials; None if there are none (yet, or any more)."""
        ...

    async def find_mail_outbox(self, store: Store) -> MailOutbox:
        """Find where the mails of a store can be read, and the key that opens them.

        Raises:
            Conflict: `no_mail_outbox`; the store keeps no mails, or has no key for them yet.
            RuntimeUnavailable: The place is unknown at the moment, or the key cannot be read.
        """
        ...

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        """Read the last `tail` lines of a store's log, oldest first."""
        ...
