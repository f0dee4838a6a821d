"""What a runtime is: it names the steps that make a store and that take one away, and answers for what it keeps."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from storefleet.models import Credentials, Store


class Address(NamedTuple):
    """Where people find the store."""

    url: str
    admin_url: str


class Outcome(NamedTuple):
    """What a step has to say when it is done."""

    message: str = ""
    address: Address | None = None


async def _always() -> None:
    return None


async def _silent(_message: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step works on, and its line to the operation that runs it.

    `check` raises LeaseLost or CancelRequested when the operation is not ours any more: to be called right before an
    effect on the world. `say` shows what the step waits for.
    """

    store: Store
    operation_id: str
    request_id: str | None = None
    check: Callable[[], Awaitable[None]] = field(default=_always)
    say: Callable[[str], Awaitable[None]] = field(default=_silent)


class RuntimeStep(NamedTuple):
    """One converging step: look, do what is missing, count “already so” as done.

    `run` raises PermanentError, TransientError or Wait.
    """

    name: str
    title: str
    run: Callable[[Work], Awaitable[Outcome]]


class Runtime(Protocol):
    """Where stores run."""

    def opened(self) -> AbstractAsyncContextManager["Runtime"]:
        """Hold what the runtime needs while the service lives."""
        ...

    async def check(self) -> None:
        """Raise RuntimeAway when stores can be neither made nor removed."""
        ...

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """From nothing, or from whatever is there, to a store that people can buy from."""
        ...

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """From whatever is there to nothing; the last step proves it."""
        ...

    async def credentials(self, store: Store) -> Credentials | None:
        """The admin's sign-in as it was generated; None when there is none (yet, or any more)."""
        ...

    async def logs(self, store: Store, *, tail: int) -> list[str]:
        """The last lines that the store wrote, oldest first."""
        ...
