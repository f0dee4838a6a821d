"""The first sign-in of the local node: a tenant, its owner and a token.

They are created once. The file `admin.json` shows them and exists only while the platform is
ready.
"""

from typing import Any

from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.node.private_files import read_json, write_json
from storefleet.node.state import StateFolder

OWNER_EMAIL = "admin@storefleet.localhost"


async def ensure_owner(database: Database, *, state: StateFolder) -> dict[str, Any]:
    """Create the first owner if there is none, and return its credentials.

    If the credentials on disk are lost, the owner gets new ones.

    Args:
        database: The platform's database.
        state: The state folder, which keeps the credentials.

    Returns:
        `tenant`, `email`, `password` and `token`.
    """
    path = state.secrets_dir("node") / "admin.json"
    kept = read_json(path)
    async with database.autocommit() as db:
        has_owner = await db.users.email_exists(OWNER_EMAIL)
    if has_owner and kept:
        return kept
    from storefleet.auth import tenants  # imports the password hasher

    created = await tenants.ensure_first_tenant(database, email=OWNER_EMAIL)
    if created is None:
        created = await tenants.replace_owner_secrets(database, email=OWNER_EMAIL)
    owner = {
        "tenant": created.tenant_id,
        "email": created.email,
        "password": created.password,
        "token": created.token,
    }
    write_json(path, owner)
    return owner


def write_admin_file(
    owner: dict[str, Any], *, settings: Settings, state: StateFolder
) -> dict[str, Any]:
    """Write `admin.json`; its presence means that the platform is ready.

    Args:
        owner: The credentials from `ensure_owner`.
        settings: The addresses of the gateway and of the live events.
        state: The state folder.

    Returns:
        The content of the file: `url`, `live_url` and the credentials.
    """
    content = {"url": settings.gateway_url, "live_url": settings.live_url, **owner}
    write_json(state.admin_file, content)
    return content


def delete_admin_file(state: StateFolder) -> None:
    """Delete `admin.json`: the platform is not ready (any more)."""
    state.admin_file.unlink(missing_ok=True)
