"""Assemble the HTTP API from its resources.

Every handler authorizes its principal and stays inside the principal's tenant. Long-running work
answers 202 with an operation (AIP-151).
"""

from collections.abc import Iterator

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.dead_letters import DeadLettersApi
from services.gateway.api.engines import EnginesApi
from services.gateway.api.mail import MailApi
from services.gateway.api.me import MeApi
from services.gateway.api.openapi import OpenApiDocument
from services.gateway.api.operations import OperationsApi
from services.gateway.api.stores import StoresApi
from services.gateway.api.tenants import TenantsApi
from services.gateway.api.tokens import TokensApi
from services.gateway.api.versions import VersionsApi
from services.gateway.mail_reading import MailReader
from services.gateway.store_lookup import StoreLookup
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.auth.authentication import Authenticator
from storefleet.auth.tokens import Tokens
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.protocol import Runtime


class Api:
    """The resources under `/api/v1`."""

    def __init__(
        self,
        *,
        database: Database,
        admission: StoreAdmission,
        version_admission: VersionAdmission,
        tokens: Tokens,
        authenticator: Authenticator,
        engines: EngineCatalogue,
        runtime: Runtime,
        settings: Settings,
        lookup: StoreLookup,
        mails: MailReader,
    ) -> None:
        authorizer = Authorizer(authenticator)
        self._resources = (
            OpenApiDocument(),
            MeApi(authorizer=authorizer),
            EnginesApi(
                authorizer=authorizer,
                engines=engines,
                default_engine=engines.get_default_name(settings.default_engine),
            ),
            StoresApi(
                authorizer=authorizer,
                database=database,
                admission=admission,
                engines=engines,
                runtime=runtime,
                lookup=lookup,
            ),
            MailApi(authorizer=authorizer, lookup=lookup, mails=mails),
            VersionsApi(
                authorizer=authorizer,
                database=database,
                admission=version_admission,
                lookup=lookup,
            ),
            OperationsApi(authorizer=authorizer, database=database, admission=admission),
            TenantsApi(authorizer=authorizer, database=database),
            TokensApi(authorizer=authorizer, tokens=tokens),
            DeadLettersApi(authorizer=authorizer, database=database, admission=admission),
        )

    def routes(self) -> Iterator[web.RouteDef]:
        """Yield the routes of all resources."""
        for resource in self._resources:
            yield from resource.routes()
