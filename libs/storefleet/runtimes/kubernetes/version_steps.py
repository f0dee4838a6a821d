"""The steps that change a store's version: of upgrades, their automatic rollback, and rollbacks.

The previous version serves until the new one passes its readiness checks. Therefore a step fails as
soon as its success is doubtful, and the operation rolls back. The steps that dump and restore the
database are in `database_steps`.
"""

from dataclasses import replace

from storefleet.core.errors import NothingChanged, PermanentError, TransientError
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.observability.failpoints import effect
from storefleet.runtimes.change_check import ChangeCheck, make_final
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.create_steps import (
    find_server,
    make_address,
    make_no_service_error,
)
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.namespace_setup import NamespaceSetup
from storefleet.runtimes.kubernetes.readiness.waiter import (
    REQUESTED_ROLLBACK_MODE,
    ROLLBACK_MODE,
    VERSION_CHANGE_MODE,
    ReadinessWaiter,
)
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.protocol import StepContext, StepResult, VersionChange

#: A version that does not answer as before serves customers until it is rolled back.
_UPGRADE_VERIFY_TIMEOUT_S = 20.0
_ROLLBACK_VERIFY_TIMEOUT_S = 90.0


class VersionSteps:
    """The steps that install a version and check it, for all stores of a process."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        installer: ReleaseInstaller,
        readiness_waiter: ReadinessWaiter,
        namespace_setup: NamespaceSetup,
        change_check: ChangeCheck,
        settings: Settings,
    ) -> None:
        self._client = client
        self._installer = installer
        self._readiness_waiter = readiness_waiter
        self._namespace_setup = namespace_setup
        self._change_check = change_check
        self._settings = settings

    async def read_baseline(self, context: StepContext) -> StepResult:
        """Read what the store answers before a change; see `ChangeCheck.read_baseline`.

        Raises:
            NothingChanged: The cluster rejects reading the store's Service.
            PermanentError: The same in the retry of a failed change.
        """
        try:
            return await self._read_baseline(context)
        except PermanentError as error:
            if context.store.engine_version != get_version_change(context).from_version:
                raise
            raise NothingChanged(error.code, error.detail, next_step=error.next_step) from None

    async def _read_baseline(self, context: StepContext) -> StepResult:
        location = self._locate_store(context.store)
        engine = self._installer.find_engine(context.store)
        if engine is None:  # the next steps explain it
            return StepResult("The engine is not in the catalogue")
        server = await find_server(self._client, location)
        return await self._change_check.read_baseline(
            context, engine, server=server, host=location.authority
        )

    async def install_release(self, context: StepContext) -> StepResult:
        """Install the Helm release of the target version."""
        target = with_version(context, get_version_change(context).to_version)
        return await self._install_release(target)

    async def wait_until_ready(self, context: StepContext) -> StepResult:
        """Wait until the target version is ready; until then the previous one may serve."""
        target = with_version(context, get_version_change(context).to_version)
        return await self._readiness_waiter.wait_until_ready(
            target, self._locate_store(context.store), VERSION_CHANGE_MODE
        )

    async def verify_storefront(self, context: StepContext) -> StepResult:
        """Check that the store answers as before, with a short timeout.

        Raises:
            PermanentError: It does not. This is not retried, because the failing version already
                serves the customers, until it is rolled back.
        """
        change = get_version_change(context)
        # In the retry of a failed version change, the store has its version already.
        is_proven_code = context.store.engine_version == change.to_version
        target = with_version(context, change.to_version)
        try:
            return await self._verify_change(
                target, timeout_s=_UPGRADE_VERIFY_TIMEOUT_S, is_proven_code=is_proven_code
            )
        except TransientError as error:
            raise make_final(error) from None

    async def wait_for_target(self, context: StepContext) -> StepResult:
        """Wait until the target version of a rollback is ready; its set-up may have failed."""
        target = with_version(context, get_version_change(context).to_version)
        return await self._readiness_waiter.wait_until_ready(
            target, self._locate_store(context.store), REQUESTED_ROLLBACK_MODE
        )

    async def roll_back_release(self, context: StepContext) -> StepResult:
        """Install the Helm release of the previous version again."""
        origin = with_version(context, get_version_change(context).from_version)
        await self._install_release(origin, is_rollback=True)
        return StepResult("The previous release is installed")

    async def is_origin_installed(self, context: StepContext) -> bool:
        """Return whether this operation has installed the version that the store had before.

        Also after an interrupted run of Helm; not if the catalogue has that version no longer.
        """
        origin = with_version(context, get_version_change(context).from_version)
        engine = self._installer.find_engine(origin.store)
        if engine is None or not engine.get_image(origin.store.engine_version):
            return False
        location = self._locate_store(context.store)
        image = await self._installer.read_database_image(location)
        return await self._installer.has_begun_installation(origin, database_image=image)

    async def wait_for_rollback(self, context: StepContext) -> StepResult:
        """Wait until the previous version is ready and no pod of the other one is left.

        Its set-up may have failed: the version has served before.
        """
        origin = with_version(context, get_version_change(context).from_version)
        return await self._readiness_waiter.wait_until_ready(
            origin, self._locate_store(context.store), ROLLBACK_MODE
        )

    async def verify_rollback(self, context: StepContext) -> StepResult:
        """Check that the previous version answers as before the upgrade.

        Unlike `verify_storefront` this is retried: no other version is left to fall back to.
        """
        origin = with_version(context, get_version_change(context).from_version)
        return await self._verify_change(
            origin, timeout_s=_ROLLBACK_VERIFY_TIMEOUT_S, is_proven_code=True
        )

    async def _verify_change(
        self, context: StepContext, *, timeout_s: float, is_proven_code: bool
    ) -> StepResult:
        """Compare with the baseline; the result has the addresses, and what failed besides."""
        engine, location = (
            self._installer.get_engine(context.store),
            self._locate_store(context.store),
        )
        server = await find_server(self._client, location)
        if not server:
            raise make_no_service_error()
        message = await self._change_check.verify_change(
            context,
            engine,
            server=server,
            host=location.authority,
            timeout_s=timeout_s,
            is_proven_code=is_proven_code,
        )
        warning = await self._readiness_waiter.find_setup_failure(context, location)
        if warning:
            warning = f"The set-up of {context.store.engine_version} failed: {warning}"
            message = f"{message}. {warning}"
        return StepResult(message, make_address(engine, location), warning=warning)

    async def _install_release(
        self, context: StepContext, *, is_rollback: bool = False
    ) -> StepResult:
        location = self._locate_store(context.store)
        await self._namespace_setup.add_missing_secrets(
            context, self._installer.get_engine(context.store), location
        )
        image = await self._installer.read_database_image(location)
        result = await self._installer.install_release(
            context, database_image=image, is_rollback=is_rollback
        )
        web = await self._client.get(resource_kinds.DEPLOYMENT, "web", namespace=location.namespace)
        # A chart need not set `replicas`; then the store stays stopped after a restore.
        if web is not None and web["spec"].get("replicas") == 0:
            await scale_web(self._client, context, location, 1)
        return result

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)


async def scale_web(
    client: KubernetesClient, context: StepContext, location: StoreLocation, replicas: int
) -> None:
    """Set the replicas of a store's Deployment `web`."""
    await context.check_ownership()
    with effect("scale_web"):
        await client.patch(
            resource_kinds.DEPLOYMENT,
            "web",
            {"spec": {"replicas": replicas}},
            namespace=location.namespace,
        )


def get_version_change(context: StepContext) -> VersionChange:
    """Return the version change of an upgrade or rollback."""
    assert context.change is not None  # noqa: S101 - these steps belong to upgrades and rollbacks
    return context.change


def with_version(context: StepContext, version: str) -> StepContext:
    """Return the context with its store at another version."""
    store = context.store.model_copy(update={"engine_version": version})
    return replace(context, store=store)
