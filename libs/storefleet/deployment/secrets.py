"""The secrets of a deployment: their names and contents, each generated once and then kept.

Where they are kept is the concern of a `SecretStore`.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from storefleet.core.identifiers import ALPHABET, RANDOM_LENGTH, TENANT_PREFIX
from storefleet.deployment.deployment_error import DeploymentError
from storefleet.node.servers.nats_server import PERMISSIONS
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
    SUPERUSER,
)

# The names are fixed: charts, people and scripts refer to them.
#: `postgres_<role>`: passwords, for the server and the set-up.
POSTGRES_SECRET = "storefleet-postgres"
#: `url`, and `stores_url` if local stores have their databases there.
DATABASE_SECRET = "storefleet-database"
#: `nats_<user>`: passwords, for the server.
NATS_SECRET = "storefleet-nats"
#: `<user>`: the NATS URL with password, one for each service.
BUS_SECRET = "storefleet-bus"
#: `tenant`, `email`, `password`, `token` of the first owner.
ADMIN_SECRET = "storefleet-admin"
SECRET_NAMES = (POSTGRES_SECRET, DATABASE_SECRET, NATS_SECRET, BUS_SECRET, ADMIN_SECRET)
#: The user that NATS servers of one cluster use among themselves.
ROUTE_USER = "route"
_STORES_DATABASE_USERS = ("provisioner", "reaper", "node")

SecretContent = Mapping[str, str]


class SecretStore(Protocol):
    """Keeps secrets by name."""

    async def read(self, name: str) -> SecretContent | None:
        """Return the values by key; None if the secret does not exist."""
        ...

    async def create(self, name: str, content: SecretContent) -> None:
        """Create the secret; one that was created concurrently is kept."""
        ...

    async def delete(self, name: str) -> None:
        """Delete the secret if it exists."""
        ...


@dataclass(frozen=True, kw_only=True)
class SecretsPlan:
    """Which secrets a deployment needs.

    Attributes:
        admin_email: E-mail address of the first owner.
        postgres_address: `host:port` of the deployment's own PostgreSQL; empty for an external one.
        nats_address: `host:port` of the deployment's own NATS; empty for an external one.
        has_stores: Whether local stores have their databases in that PostgreSQL.
    """

    admin_email: str
    postgres_address: str = ""
    nats_address: str = ""
    has_stores: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of PostgreSQL that need a password."""
        return (SUPERUSER, PLATFORM_ROLE, *((STORES_ROLE,) if self.has_stores else ()))


async def ensure_secrets(secret_store: SecretStore, plan: SecretsPlan) -> list[str]:
    """Create the missing secrets, in the order of their dependencies.

    Args:
        secret_store: Where the secrets are kept.
        plan: Which secrets are needed.

    Returns:
        The names of the created secrets.

    Raises:
        DeploymentError: An existing secret lacks a key, or the store cannot be used.
    """
    existing: dict[str, SecretContent] = {}
    created = []
    for name, generate in _list_generators(plan).items():
        generated = generate(existing)
        content = await secret_store.read(name)
        if content is None:
            await secret_store.create(name, generated)
            content = await secret_store.read(name) or {}
            created.append(name)
        if missing := sorted(set(generated) - set(content)):
            raise DeploymentError(
                f"The secret {name} exists, but lacks {', '.join(missing)}. Add what is missing, "
                "or delete the secret so that all of it is generated again (an existing database "
                "keeps its old passwords)."
            )
        existing[name] = content
    return created


async def read_service_settings(secret_store: SecretStore) -> dict[str, SecretContent]:
    """Combine the secrets into settings; in a cluster, the chart does this with mounts.

    Args:
        secret_store: Where the secrets are kept.

    Returns:
        Secret settings by NATS user, without empty values.
    """
    database = await secret_store.read(DATABASE_SECRET) or {}
    nats_urls = await secret_store.read(BUS_SECRET) or {}
    settings: dict[str, SecretContent] = {}
    for user, nats_url in nats_urls.items():
        values = {"database_url": database.get("url", ""), "nats_url": nats_url}
        if user in _STORES_DATABASE_USERS:
            values["stores_database_url"] = database.get("stores_url", "")
        settings[user] = {setting: value for setting, value in values.items() if value}
    return settings


async def delete_secrets(secret_store: SecretStore) -> None:
    """Delete all secrets; the servers that use them must be deleted before.

    Args:
        secret_store: Where the secrets are kept.
    """
    for name in SECRET_NAMES:
        await secret_store.delete(name)


def _list_generators(
    plan: SecretsPlan,
) -> dict[str, Callable[[Mapping[str, SecretContent]], SecretContent]]:
    """Return a function per secret that generates it from the secrets before it."""
    generators: dict[str, Callable[[Mapping[str, SecretContent]], SecretContent]] = {}
    if plan.postgres_address:
        generators[POSTGRES_SECRET] = lambda _: {
            f"postgres_{role}": _generate_password() for role in plan.roles
        }
        generators[DATABASE_SECRET] = lambda existing: _make_database_urls(
            plan, existing[POSTGRES_SECRET]
        )
    if plan.nats_address:
        generators[NATS_SECRET] = lambda _: {
            f"nats_{user}": _generate_password() for user in (*PERMISSIONS, ROUTE_USER)
        }
        generators[BUS_SECRET] = lambda existing: _make_nats_urls(plan, existing[NATS_SECRET])
    generators[ADMIN_SECRET] = lambda _: _generate_admin(plan.admin_email)
    return generators


def _make_database_urls(plan: SecretsPlan, passwords: SecretContent) -> SecretContent:
    databases = {"url": (PLATFORM_ROLE, PLATFORM_DATABASE)}
    if plan.has_stores:
        databases["stores_url"] = (STORES_ROLE, MAINTENANCE_DATABASE)
    urls = {}
    for key, (role, database) in databases.items():
        password = quote(passwords[f"postgres_{role}"])
        urls[key] = f"postgresql://{role}:{password}@{plan.postgres_address}/{database}"
    return urls


def _make_nats_urls(plan: SecretsPlan, passwords: SecretContent) -> SecretContent:
    return {
        user: f"nats://{user}:{quote(passwords[f'nats_{user}'])}@{plan.nats_address}"
        for user in PERMISSIONS
    }


def _generate_admin(email: str) -> SecretContent:
    from storefleet.auth import tenants  # imports the password hasher

    tenant, email, password, token = tenants.generate_tenant(derive_tenant_id(email), email)
    return {"tenant": tenant, "email": email, "password": password, "token": token}


def derive_tenant_id(email: str) -> str:
    """Derive the id of the first tenant from its owner's e-mail address.

    The same address gives the same id, so that a secret that was lost and generated again still
    names the right tenant.

    Args:
        email: The owner's e-mail address; its case is ignored.

    Returns:
        The id, `ten_…`.
    """
    number = int.from_bytes(hashlib.sha256(email.lower().encode()).digest(), "big")
    characters = []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{TENANT_PREFIX}_{''.join(characters)}"


def _generate_password() -> str:
    return secrets.token_urlsafe(24)
