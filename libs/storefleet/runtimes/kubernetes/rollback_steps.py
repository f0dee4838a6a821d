"""The steps of a requested rollback, which keep a store that serves.

If the previous version does not come up, or the store does not answer as before with it, the
release of the present version is installed again, whose pods serve meanwhile. The rollback has
failed then, and the store is as it was. A rollback that restored a dump cannot return: the data is
older.
"""

from collections.abc import Awaitable, Callable

from storefleet.core.errors import NothingChanged, PermanentError, StorefleetError
from storefleet.runtimes.kubernetes.version_steps import VersionSteps, get_version_change
from storefleet.runtimes.protocol import StepContext, StepResult


class RollbackSteps:
    """The steps of requested rollbacks, for all stores of a process."""

    def __init__(self, version_steps: VersionSteps) -> None:
        self._version_steps = version_steps

    async def install_release(self, context: StepContext) -> StepResult:
        """Install the Helm release of the target version, or return to the present one."""
        return await self._run_or_return(context, self._version_steps.install_release)

    async def wait_until_ready(self, context: StepContext) -> StepResult:
        """Wait until the target version is ready, or return to the present one."""
        return await self._run_or_return(context, self._version_steps.wait_for_target)

    async def verify_storefront(self, context: StepContext) -> StepResult:
        """Check that the store answers as before, or return to the present version."""
        return await self._run_or_return(context, self._version_steps.verify_storefront)

    async def _run_or_return(
        self, context: StepContext, run: Callable[[StepContext], Awaitable[StepResult]]
    ) -> StepResult:
        """Run a step; if it fails for good, return to the present version.

        Raises:
            NothingChanged: The step failed, and the store is on its present version again.
            PermanentError: The step failed, and there is no version to return to.
        """
        if not _can_return(context):
            return await run(context)
        if await self._version_steps.is_origin_installed(context):
            # Another worker failed and began to return; its error is in the log.
            error = PermanentError(
                "store_not_ready",
                "The previous version did not come up.",
                next_step="Read the store's log, correct the cause, then roll back again.",
            )
            raise await self._return_to_origin(context, error)
        try:
            return await run(context)
        except NothingChanged:
            raise
        except PermanentError as error:
            raise await self._return_to_origin(context, error) from None

    async def _return_to_origin(
        self, context: StepContext, error: PermanentError
    ) -> PermanentError:
        """Install the present version again and return the error to raise."""
        version = get_version_change(context).from_version
        await context.report_progress(f"{error.detail} Returning to {version}")
        steps = self._version_steps
        try:
            await steps.roll_back_release(context)
            await steps.wait_for_rollback(context)
            await steps.verify_rollback(context)
        except PermanentError as second:
            return _combine(error, second, version)
        return NothingChanged(
            error.code,
            f"{error.detail} The store is still on {version}.",
            next_step=error.next_step,
        )


def _can_return(context: StepContext) -> bool:
    """Return whether the present version served before the rollback, with the present data."""
    change = get_version_change(context)
    return (
        not change.restore
        and context.baseline is not None
        and context.baseline.is_comparable
        # In the retry of a failed upgrade, the store's version is the target.
        and context.store.engine_version == change.from_version
    )


def _combine(error: PermanentError, second: StorefleetError, version: str) -> PermanentError:
    return PermanentError(
        error.code,
        f"{error.detail} Returning to {version} failed, too: {second}",
        next_step=error.next_step,
    )
