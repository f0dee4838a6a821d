"""The steps that delete a local store; the last one verifies that nothing is left."""

import asyncio

from storefleet.core.errors import TransientError
from storefleet.observability.failpoints import effect
from storefleet.runtimes.local.file_layout import make_database_name
from storefleet.runtimes.local.placements import PlacementControl, is_listening
from storefleet.runtimes.local.store_databases import StoreDatabases
from storefleet.runtimes.local.store_files import StoreFiles
from storefleet.runtimes.protocol import StepContext, StepResult

_STOP_TIMEOUT_S = 20.0


class DeleteSteps:
    """The steps of delete operations, for all stores of a process."""

    def __init__(
        self,
        *,
        files: StoreFiles,
        databases: StoreDatabases,
        placements: PlacementControl,
    ) -> None:
        self._files = files
        self._databases = databases
        self._placements = placements

    async def stop_process(self, context: StepContext) -> StepResult:
        """Stop the store's process and wait until the node observes it."""
        await context.check_ownership()
        if not await self._placements.request_state(context.store.id, "stopped"):
            return StepResult("It never ran")
        await self._placements.wait_until_observed(
            context.store, "stopped", timeout_s=_STOP_TIMEOUT_S
        )
        return StepResult("Stopped")

    async def drop_database(self, context: StepContext) -> StepResult:
        """Drop the store's database and role."""
        async with self._databases.lock_store(make_database_name(context.store.id)) as session:
            await context.check_ownership()
            await session.drop_database_and_role()
        return StepResult("Dropped")

    async def delete_files(self, context: StepContext) -> StepResult:
        """Delete the store's files, secrets and logs."""
        await context.check_ownership()
        with effect("delete_files"):
            await asyncio.to_thread(self._files.delete, context.store.id)
        return StepResult("Deleted")

    async def verify_deletion(self, context: StepContext) -> StepResult:
        """Verify that nothing is left, and only then free the port."""
        store = context.store
        async with self._databases.lock_store(make_database_name(store.id)) as session:
            left = await session.list_leftovers()
        left += await asyncio.to_thread(self._files.list_leftovers, store.id)
        placement = await self._placements.find(store.id)
        if placement is not None and await asyncio.to_thread(is_listening, placement.port):
            left.append(f"a listener on port {placement.port}")
        if left:
            raise TransientError(
                "leftovers",
                f"These remain after the deletion: {', '.join(left)}.",
                next_step="Retry the deletion.",
            )
        await self._placements.delete(store.id)
        return StepResult("No process, database, role or file is left")
