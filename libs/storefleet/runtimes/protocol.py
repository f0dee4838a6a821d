"""What a runtime is: it names the steps that make a store and that take one away, and answers for what it keeps."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from storefleet.core.models import AdminCredentials, Operation, Store
from storefleet.core.operation_inputs import RollbackInput


class Address(NamedTuple):
    """Where people find the store."""

    url: str
    admin_url: str


class StepResult(NamedTuple):
    """What a step has to say when it is done."""

    message: str = ""
    address: Address | None = None


class ResourceUsage(NamedTuple):
    """How much of a thing a store takes, of what it may: quantities as people read them, and `share` from 0 to 1."""

    name: str
    used: str
    hard: str
    share: float | None = None


@dataclass(frozen=True)
class VersionChange:
    """From which version to which; `dump` is the id of the operation that dumped the database before the upgrade.

    `restore` puts that dump back, and `discard_orders` accepts that what was ordered since is lost.
    """

    from_version: str
    to_version: str
    restore: bool = False
    discard_orders: bool = False
    dump_operation_id: str = ""

    @classmethod
    def from_operation(cls, operation: Operation) -> Self:
        """What an upgrade or a rollback was asked for."""
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
    """What a step works on, and its line to the operation that runs it.

    `check` raises LeaseLost or CancelRequested when the operation is not ours any more: to be called right before an
    effect on the world. `say` shows what the step waits for. `change` is what an upgrade or a rollback is about; the
    store still has the version from before.
    """

    store: Store
    operation_id: str
    request_id: str | None = None
    change: VersionChange | None = None
    check_ownership: Callable[[], Awaitable[None]] = field(default=_accept_ownership)
    report_progress: Callable[[str], Awaitable[None]] = field(default=_ignore_progress)


class RuntimeStep(NamedTuple):
    """One converging step: look, do what is missing, count “already so” as done.

    `run` raises PermanentError, TransientError or Wait.
    """

    name: str
    title: str
    run: Callable[[StepContext], Awaitable[StepResult]]


class Runtime(Protocol):
    """Where stores run."""

    #: Whether a store can be given another version; where not, nobody asks for those steps.
    supports_version_changes: bool

    def open_resources(self) -> AbstractAsyncContextManager["Runtime"]:
        """Hold what the runtime needs while the service lives."""
        ...

    async def check_available(self) -> None:
        """Raise RuntimeUnavailable when stores can be neither made nor removed."""
        ...

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """From nothing, or from whatever is there, to a store that people can buy from."""
        ...

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """From whatever is there to nothing; the last step proves it."""
        ...

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """From `change.origin` to a store of `change.target` that people can buy from; the database is dumped first."""
        ...

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        """From wherever an upgrade has stopped back to `change.origin`; their names begin with `rollback-`."""
        ...

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """From `change.origin` back to `change.target`, an older one; a step may raise Unchanged before any effect."""
        ...

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """What the store takes of its plan; None where nothing limits it."""
        ...

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        """The admin's sign-in as it was generated; None when there is none (yet, or any more)."""
        ...

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        """The last lines that the store wrote, oldest first."""
        ...
