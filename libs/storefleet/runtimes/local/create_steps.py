"""The steps that create a local store.

Each step converges: it keeps what an earlier attempt has created, generated secrets included.
"""

import asyncio
import secrets
from typing import Any

from storefleet.core.errors import PermanentError, TransientError, Wait
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.observability.failpoints import effect
from storefleet.runtimes.local.file_layout import FileLayout, make_database_name
from storefleet.runtimes.local.placements import PlacementControl
from storefleet.runtimes.local.store_databases import StoreDatabases
from storefleet.runtimes.local.store_files import StoreFiles
from storefleet.runtimes.protocol import Address, StepContext, StepResult
from storefleet.runtimes.storefront_check import StorefrontCheck

_START_TIMEOUT_S = 90.0
_TEMPLATE_POLL_INTERVAL_S = 1


class CreateSteps:
    """The steps of create operations, for all stores of a process."""

    def __init__(
        self,
        *,
        settings: Settings,
        engines: EngineCatalogue,
        layout: FileLayout,
        files: StoreFiles,
        databases: StoreDatabases,
        placements: PlacementControl,
        storefront_check: StorefrontCheck,
    ) -> None:
        self._settings = settings
        self._engines = engines
        self._layout = layout
        self._files = files
        self._databases = databases
        self._placements = placements
        self._storefront_check = storefront_check

    async def reserve_address(self, context: StepContext) -> StepResult:
        """Reserve a port and write the configuration with generated secrets."""
        store = context.store
        engine = self._get_engine(store)
        ports = range(self._settings.store_port_first, self._settings.store_port_last + 1)
        placement = await self._placements.reserve_port(context, ports)
        address = self._make_address(engine, store, placement.port)
        await context.check_ownership()
        with effect("write_config"):
            await asyncio.to_thread(self._write_config, engine, store, placement.port, address)
        return StepResult(f"Address {address.url}", address)

    async def copy_template(self, context: StepContext) -> StepResult:
        """Clone the template database for the store's own role and copy the template's files."""
        store = context.store
        template = self._layout.read_template(store.engine, store.engine_version)
        if template is None:
            raise Wait(
                f"The engine {store.engine} {store.engine_version} is being prepared.",
                delay=_TEMPLATE_POLL_INTERVAL_S,
            )
        config = self._files.read_config(store.id)
        if config is None:
            raise TransientError(
                "config_missing", "The store's configuration is missing.", next_step="Retry."
            )
        async with self._databases.lock_store(make_database_name(store.id)) as session:
            await context.check_ownership()
            await session.ensure_role(config["database"]["password"])
            await session.clone_template(template)
        await context.check_ownership()
        with effect("copy_files"):
            await asyncio.to_thread(self._files.copy_template, store.id, template)
        return StepResult("Copied from the template")

    async def start_process(self, context: StepContext) -> StepResult:
        """Request the store's process and wait until the node observes it."""
        await context.check_ownership()
        await self._placements.request_state(context.store.id, "running")
        placement = await self._placements.wait_until_observed(
            context.store, "running", timeout_s=_START_TIMEOUT_S
        )
        return StepResult(f"Process {placement.pid}" if placement else "")

    async def verify_storefront(self, context: StepContext) -> StepResult:
        """Check storefront and admin over HTTP, under the store's host name."""
        store = context.store
        engine = self._get_engine(store)
        placement = await self._placements.find(store.id)
        if placement is None:
            raise TransientError(
                "placement_missing", "The store has no placement.", next_step="Retry."
            )
        await self._storefront_check.wait_until_healthy(
            context,
            engine,
            server=f"http://127.0.0.1:{placement.port}",
            host=f"{self._make_host(store)}:{placement.port}",
        )
        address = self._make_address(engine, store, placement.port)
        return StepResult("The storefront shows its products and the admin sign-in page", address)

    def _write_config(self, engine: Engine, store: Store, port: int, address: Address) -> None:
        """Write what the store's process needs; secrets of an earlier attempt are kept."""
        kept = self._files.read_config(store.id) or {}
        host = self._make_host(store)
        database = make_database_name(store.id)
        config: dict[str, Any] = {
            "store_id": store.id,
            "name": store.name,
            "host": host,
            "address": self._settings.store_address,
            "port": port,
            "url": address.url,
            "database": {
                "host": self._databases.host,
                "port": self._databases.port,
                "name": database,
                "user": database,
                "password": kept.get("database", {}).get("password") or secrets.token_urlsafe(24),
            },
            "mail_key": kept.get("mail_key") or secrets.token_urlsafe(36),
            "secret_key": kept.get("secret_key") or secrets.token_urlsafe(48),
            "admin": {
                "username": engine.admin.username.format(host=host),
                "password": kept.get("admin", {}).get("password") or secrets.token_urlsafe(15),
            },
            "parameters": engine.add_default_parameters(store.parameters),
            "data_dir": str(self._layout.files_dir(store.id)),
            "mail_dir": str(self._layout.mail_dir(store.id)),
        }
        self._files.write_config(store.id, config)

    def _get_engine(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None or engine.local is None:
            raise PermanentError(
                "engine_unavailable",
                f"The engine {store.engine} does not run on the local runtime.",
                next_step="Delete the store and create it with another engine.",
            )
        return engine

    def _make_host(self, store: Store) -> str:
        return f"{store.name}.{self._settings.store_domain}"

    def _make_address(self, engine: Engine, store: Store, port: int) -> Address:
        base = f"http://{self._make_host(store)}:{port}"
        return Address(f"{base}/", base + engine.admin.path)
