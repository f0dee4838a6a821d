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
POSTGRES = "storefleet-postgres"  # postgres_<role>: passwords, for the server and the set-up
DATABASE = "storefleet-database"  # url; stores_url where stores have databases there
NATS = "storefleet-nats"  # nats_<user>: passwords, for the server
BUS = "storefleet-bus"  # <user>: address with password, for each service its own
ADMIN = "storefleet-admin"  # tenant, email, password, token: the first sign-in
NAMES = (POSTGRES, DATABASE, NATS, BUS, ADMIN)
ROUTE = "route"  # of servers among themselves
_KNOW_STORES = ("provisioner", "reaper", "node")

Content = Mapping[str, str]


class Vault(Protocol):
    """Where secrets are kept: the cluster's, or a folder."""

    async def read(self, name: str) -> Content | None:
        """None when there is none of that name."""
        ...

    async def add(self, name: str, content: Content) -> None:
        """Keep it, unless somebody else was faster."""
        ...

    async def remove(self, name: str) -> None:
        """Make sure that there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the deployment needs: addresses of the servers that it runs itself, empty for those of others."""

    email: str
    postgres: str = ""
    nats: str = ""
    stores: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        return (SUPERUSER, PLATFORM_ROLE, *((STORES_ROLE,) if self.stores else ()))


async def ensure(vault: Vault, plan: Plan) -> list[str]:
    """Make what is missing, in an order in which each finds what it is made of; returns the names of the new ones."""
    found: dict[str, Content] = {}
    made = []
    for name, make in _makers(plan).items():
        wanted = make(found)
        kept = await vault.read(name)
        if kept is None:
            await vault.add(name, wanted)
            kept = await vault.read(name) or {}
            made.append(name)
        if missing := sorted(set(wanted) - set(kept)):
            raise DeploymentError(
                f"The secret {name} is there, but lacks {', '.join(missing)}: add what is missing, or delete the "
                "secret to have all of it made anew (a database that exists keeps its old passwords)."
            )
        found[name] = kept
    return made


async def settings_of(vault: Vault) -> dict[str, Content]:
    """What each user of the bus has to be told, as settings; a cluster puts that together where it mounts them."""
    database, bus = await vault.read(DATABASE) or {}, await vault.read(BUS) or {}
    own = {"database_url": database.get("url", "")}
    stores = {"stores_database_url": database.get("stores_url", "")}
    return {
        user: {
            setting: value
            for setting, value in (
                {**own, "nats_url": address} | (stores if user in _KNOW_STORES else {})
            ).items()
            if value
        }
        for user, address in bus.items()
    }


async def forget(vault: Vault) -> None:
    """Remove them all; what they opened has to be gone already."""
    for name in NAMES:
        await vault.remove(name)


def _makers(plan: Plan) -> dict[str, Callable[[Mapping[str, Content]], Content]]:
    own: dict[str, Callable[[Mapping[str, Content]], Content]] = {}
    if plan.postgres:
        own[POSTGRES] = lambda _: {f"postgres_{role}": _random() for role in plan.roles}
        own[DATABASE] = lambda found: _database_urls(plan, found[POSTGRES])
    if plan.nats:
        own[NATS] = lambda _: {f"nats_{user}": _random() for user in (*RIGHTS, ROUTE)}
        own[BUS] = lambda found: {
            user: f"nats://{user}:{quote(found[NATS][f'nats_{user}'])}@{plan.nats}"
            for user in RIGHTS
        }
    own[ADMIN] = lambda _: _first_sign_in(plan.email)
    return own


def _database_urls(plan: Plan, passwords: Content) -> Content:
    places = {"url": (PLATFORM_ROLE, PLATFORM_DATABASE)}
    if plan.stores:
        places["stores_url"] = (STORES_ROLE, MAINTENANCE_DATABASE)
    return {
        key: f"postgresql://{role}:{quote(passwords[f'postgres_{role}'])}@{plan.postgres}/{database}"
        for key, (role, database) in places.items()
    }


def _first_sign_in(email: str) -> Content:
    from storefleet.auth import accounts  # brings the password hasher

    tenant, email, password, token = accounts.generate_tenant(first_tenant_id(email), email)
    return {"tenant": tenant, "email": email, "password": password, "token": token}


def first_tenant_id(email: str) -> str:
    """The same for the same person, so that lost secrets that are made anew still name the right tenant."""
    number = int.from_bytes(hashlib.sha256(email.lower().encode()).digest(), "big")
    characters = []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{TENANT_PREFIX}_{''.join(characters)}"


def _random() -> str:
    return secrets.token_urlsafe(24)
