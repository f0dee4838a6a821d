"""The local runtime behind the protocol that the services use."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from storefleet.core.errors import RuntimeUnavailable
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.local.create_steps import CreateSteps
from storefleet.runtimes.local.delete_steps import DeleteSteps
from storefleet.runtimes.local.file_layout import FileLayout, read_json
from storefleet.runtimes.local.placements import PlacementControl
from storefleet.runtimes.local.store_databases import StoreDatabases
from storefleet.runtimes.local.store_files import StoreFiles
from storefleet.runtimes.mail_outboxes import get_mail_path, make_missing_key_error
from storefleet.runtimes.protocol import MailOutbox, RuntimeStep
from storefleet.runtimes.single_version import SingleVersionRuntime
from storefleet.runtimes.storefront_check import StorefrontCheck


class LocalRuntime(SingleVersionRuntime):
    """Creates and deletes stores on the machine of the services."""

    def __init__(self, *, settings: Settings, database: Database, engines: EngineCatalogue) -> None:
        """Create the runtime.

        Args:
            settings: The state folder, the stores' database server, ports and domain.
            database: The platform's database, for the placements.
            engines: The engine catalogue.
        """
        self._settings = settings
        self._engines = engines
        self._layout = FileLayout(settings.state_dir)
        self._databases = StoreDatabases(settings.stores_database_url.get_secret_value())
        self._storefront_check = StorefrontCheck()
        self._files = StoreFiles(layout=self._layout, owner=settings.stores_user)
        self._placements = placements = PlacementControl(database=database, files=self._files)
        self._create = CreateSteps(
            settings=settings,
            engines=engines,
            layout=self._layout,
            files=self._files,
            databases=self._databases,
            placements=placements,
            storefront_check=self._storefront_check,
        )
        self._delete = DeleteSteps(
            files=self._files,
            databases=self._databases,
            placements=placements,
        )

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["LocalRuntime"]:
        """Hold the HTTP client of the storefront check until the context exits."""
        async with self._storefront_check.open_resources():
            yield self

    async def check_available(self) -> None:
        """Check that the stores' database server answers.

        Raises:
            RuntimeUnavailable: It does not.
        """
        await self._databases.check_available()

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return the steps of a creation."""
        del store
        steps = self._create
        return (
            RuntimeStep("reserve", "Reserve an address, generate secrets", steps.reserve_address),
            RuntimeStep("copy", "Copy the template's database and files", steps.copy_template),
            RuntimeStep("start", "Start the store", steps.start_process),
            RuntimeStep("verify", "Check storefront and admin", steps.verify_storefront),
        )

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return the steps of a deletion."""
        del store
        steps = self._delete
        return (
            RuntimeStep("stop", "Stop the store", steps.stop_process),
            RuntimeStep("database", "Drop the database and its role", steps.drop_database),
            RuntimeStep("files", "Delete files and credentials", steps.delete_files),
            RuntimeStep("verify", "Verify that nothing is left", steps.verify_deletion),
        )

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        """Read the generated admin credentials from the store's configuration file."""
        config = await asyncio.to_thread(read_json, self._layout.config_file(store.id))
        if config is None or store.admin_url is None:
            return None
        admin = config["admin"]
        return AdminCredentials(store.admin_url, admin["username"], admin["password"])

    async def find_mail_outbox(self, store: Store) -> MailOutbox:
        """Find the port of a running store, and read the key from its configuration file.

        Raises:
            Conflict: The store keeps no mails, or has no key because it has not been restarted
                since the platform was updated.
            RuntimeUnavailable: Its process does not run.
        """
        path = get_mail_path(store, self._engines.find(store.engine))
        placement = await self._placements.find(store.id)
        if placement is None or placement.observed != "running":
            raise RuntimeUnavailable(f"The process of the store {store.name} does not run now.")
        config = await asyncio.to_thread(read_json, self._layout.config_file(store.id)) or {}
        if not (key := config.get("mail_key")):
            raise make_missing_key_error(store, remedy="Restart the platform, which adds it.")
        return MailOutbox(
            url=f"http://127.0.0.1:{placement.port}{path}",
            host=f"{store.name}.{self._settings.store_domain}:{placement.port}",
            key=key,
        )

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        """Read the last lines of the store's log, oldest first."""
        return await asyncio.to_thread(self._files.read_log_tail, store.id, tail)
