"""Prepare the engines for the local runtime: an environment and a template for every version."""

import asyncio

from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.node.state import StateFolder
from storefleet.node.stores import environments
from storefleet.node.stores.environments import EngineEnvironment, ReportProgress
from storefleet.node.stores.templates import EngineTemplate
from storefleet.node.system_user import SystemAccount
from storefleet.runtimes.local.file_layout import FileLayout


class EnginePreparation:
    """Builds environments and templates, one after the other.

    Args:
        settings: The platform's settings.
        state: The state folder.
        engines: The engines.
        account: The system account that the engines run as; None is the current user.
        report_progress: Receives status messages.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        state: StateFolder,
        engines: EngineCatalogue,
        account: SystemAccount | None,
        report_progress: ReportProgress,
    ) -> None:
        self._settings = settings
        self._state = state
        self._engines = engines
        self._account = account
        self._report_progress = report_progress
        self._file_layout = FileLayout(state.path)

    async def build_environments(self) -> list[EngineEnvironment]:
        """Build the environments of all engine versions that run locally.

        Returns:
            The environments; none if the runtime is not `local`.

        Raises:
            NodeError: An environment cannot be built.
        """
        if self._settings.runtime != "local":
            return []
        built = []
        local_engines = [engine for engine in self._engines if engine.local is not None]
        for engine in local_engines:
            for version in engine.versions:
                environment = await asyncio.to_thread(
                    environments.locate_environment,
                    engine,
                    version.version,
                    engines_dir=self._state.engines_dir,
                )
                await environments.build_environment(
                    engine,
                    environment,
                    records_dir=self._state.records_dir,
                    log_file=self._state.log_file(f"engine-{engine.name}"),
                    account=self._account,
                    report_progress=self._report_progress,
                )
                built.append(environment)
        return built

    async def build_templates(
        self, environments_task: asyncio.Task[list[EngineEnvironment]], *, stores_url: str
    ) -> list[EngineEnvironment]:
        """Build the template of every environment, and publish it to the runtime.

        Args:
            environments_task: The task that builds the environments.
            stores_url: The stores' database server.

        Returns:
            The environments.

        Raises:
            NodeError: An environment or a template cannot be built.
        """
        built = await environments_task
        for environment in built:
            engine = self._engines.get_offered(environment.engine)
            template = EngineTemplate(
                engine,
                environment,
                url=stores_url,
                records_dir=self._state.records_dir,
                log_file=self._state.log_file(f"engine-{engine.name}"),
                account=self._account,
            )
            await template.ensure(
                self._report_progress,
                record_file=self._file_layout.template_record_file(
                    environment.engine, environment.version
                ),
            )
            environments.publish_template(environment, file_layout=self._file_layout)
            await template.delete_outdated()
        return built
