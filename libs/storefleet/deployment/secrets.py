"""The secrets of a deployment: which there are, what is in each, and that each is made once and then kept."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from storefleet.core.identifiers import ALPHABET, RANDOM_LENGTH, TENANT_PREFIX
from storefleet.deployment.deployment_error import DeploymentError
from storefleet.node.servers.nats_server import RIGHTS
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
    SUPERUSER,
)

#: Names are fixed: charts, people and scripts look for them.
POSTGRES_SECRET = "storefleet-postgres"  # postgres_<role>: passwords, for the server and the set-up
DATABASE_SECRET = "storefleet-database"  # url; stores_url where stores have databases there
NATS_SECRET = "storefleet-nats"  # nats_<user>: passwords, for the server
BUS_SECRET = "storefleet-bus"  # <user>: address with password, for each service its own
ADMIN_SECRET = "storefleet-admin"  # tenant, email, password, token: the first sign-in
SECRET_NAMES = (POSTGRES_SECRET, DATABASE_SECRET, NATS_SECRET, BUS_SECRET, ADMIN_SECRET)
ROUTE_USER = "route"  # of servers among themselves
_STORES_DATABASE_USERS = ("provisioner", "reaper", "node")

SecretContent = Mapping[str, str]


class SecretStore(Protocol):
    """Where secrets are kept: the cluster's, or a folder."""

    async def read(self, name: str) -> SecretContent | None:
        """None when there is none of that name."""
        ...

    async def create(self, name: str, content: SecretContent) -> None:
        """Keep it, unless somebody else was faster."""
        ...

    async def delete(self, name: str) -> None:
        """Make sure that there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class SecretsPlan:
    """What the deployment needs: addresses of the servers that it runs itself, empty for those of others."""

    admin_email: str
    postgres_address: str = ""
    nats_address: str = ""
    has_stores: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        return (SUPERUSER, PLATFORM_ROLE, *((STORES_ROLE,) if self.has_stores else ()))


async def ensure_secrets(secret_store: SecretStore, plan: SecretsPlan) -> list[str]:
    """Make what is missing, in an order in which each finds what it is made of; returns the names of the new ones."""
    found: dict[str, SecretContent] = {}
    made = []
    for name, make in _list_generators(plan).items():
        wanted = make(found)
        kept = await secret_store.read(name)
        if kept is None:
            await secret_store.create(name, wanted)
            kept = await secret_store.read(name) or {}
            made.append(name)
        if missing := sorted(set(wanted) - set(kept)):
            raise DeploymentError(
                f"The secret {name} is there, but lacks {', '.join(missing)}: add what is missing, or delete the "
                "secret to have all of it made anew (a database that exists keeps its old passwords)."
            )
        found[name] = kept
    return made


async def read_service_settings(secret_store: SecretStore) -> dict[str, SecretContent]:
    """What each user of the bus has to be told, as settings; a cluster puts that together where it mounts them."""
    database, bus = (
        await secret_store.read(DATABASE_SECRET) or {},
        await secret_store.read(BUS_SECRET) or {},
    )
    own = {"database_url": database.get("url", "")}
    stores = {"stores_database_url": database.get("stores_url", "")}
    return {
        user: {
            setting: value
            for setting, value in (
                {**own, "nats_url": address} | (stores if user in _STORES_DATABASE_USERS else {})
            ).items()
            if value
        }
        for user, address in bus.items()
    }


async def delete_secrets(secret_store: SecretStore) -> None:
    """Remove them all; what they opened has to be gone already."""
    for name in SECRET_NAMES:
        await secret_store.delete(name)


def _list_generators(
    plan: SecretsPlan,
) -> dict[str, Callable[[Mapping[str, SecretContent]], SecretContent]]:
    own: dict[str, Callable[[Mapping[str, SecretContent]], SecretContent]] = {}
    if plan.postgres_address:
        own[POSTGRES_SECRET] = lambda _: {
            f"postgres_{role}": _generate_password() for role in plan.roles
        }
        own[DATABASE_SECRET] = lambda found: _make_database_urls(plan, found[POSTGRES_SECRET])
    if plan.nats_address:
        own[NATS_SECRET] = lambda _: {
            f"nats_{user}": _generate_password() for user in (*RIGHTS, ROUTE_USER)
        }
        own[BUS_SECRET] = lambda found: {
            user: f"nats://{user}:{quote(found[NATS_SECRET][f'nats_{user}'])}@{plan.nats_address}"
            for user in RIGHTS
        }
    own[ADMIN_SECRET] = lambda _: _generate_admin(plan.admin_email)
    return own


def _make_database_urls(plan: SecretsPlan, passwords: SecretContent) -> SecretContent:
    places = {"url": (PLATFORM_ROLE, PLATFORM_DATABASE)}
    if plan.has_stores:
        places["stores_url"] = (STORES_ROLE, MAINTENANCE_DATABASE)
    return {
        key: f"postgresql://{role}:{quote(passwords[f'postgres_{role}'])}@{plan.postgres_address}/{database}"
        for key, (role, database) in places.items()
    }


def _generate_admin(email: str) -> SecretContent:
    from storefleet.auth import accounts  # brings the password hasher

    tenant, email, password, token = accounts.generate_tenant(derive_tenant_id(email), email)
    return {"tenant": tenant, "email": email, "password": password, "token": token}


def derive_tenant_id(email: str) -> str:
    """The same for the same person, so that lost secrets that are made anew still name the right tenant."""
    number = int.from_bytes(hashlib.sha256(email.lower().encode()).digest(), "big")
    characters = []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{TENANT_PREFIX}_{''.join(characters)}"


def _generate_password() -> str:
    return secrets.token_urlsafe(24)
