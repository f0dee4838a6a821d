"""The first sign-in: a tenant, its owner, a token; made once, told in `admin.json` whenever the platform is ready."""

from typing import Any

from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.node.private_files import read_json, write_json
from storefleet.node.state import StateFolder

OWNER_EMAIL = "admin@storefleet.localhost"


async def ensure_owner(database: Database, *, state: StateFolder) -> dict[str, Any]:
    """Tenant, e-mail, password and token of the first owner; new secrets when the kept ones are lost."""
    path = state.secrets_dir("node") / "admin.json"
    kept = read_json(path)
    async with database.autocommit() as db:
        known = await db.users.email_exists(OWNER_EMAIL)
    if known and kept:
        return kept
    from storefleet.auth import tenants  # imports the password hasher

    made = await tenants.ensure_first_tenant(database, email=OWNER_EMAIL)
    if made is None:
        made = await tenants.replace_owner_secrets(database, email=OWNER_EMAIL)
    owner = {
        "tenant": made.tenant_id,
        "email": made.email,
        "password": made.password,
        "token": made.token,
    }
    write_json(path, owner)
    return owner


def write_admin_file(
    owner: dict[str, Any], *, settings: Settings, state: StateFolder
) -> dict[str, Any]:
    """Write `admin.json`, whose presence says that the platform is ready."""
    content = {"url": settings.gateway_url, "live_url": settings.live_url, **owner}
    write_json(state.admin_file, content)
    return content


def delete_admin_file(state: StateFolder) -> None:
    state.admin_file.unlink(missing_ok=True)
