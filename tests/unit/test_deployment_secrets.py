"""A deployment's secrets: generated once, kept, and derived in order."""

from pathlib import Path

import pytest

from storefleet.cli.main import main
from storefleet.core.identifiers import TENANT_PREFIX, is_id
from storefleet.deployment import secrets
from storefleet.deployment.deployment_error import DeploymentError
from storefleet.deployment.secret_stores import FolderSecretStore
from storefleet.deployment.secrets import (
    ADMIN_SECRET,
    BUS_SECRET,
    DATABASE_SECRET,
    NATS_SECRET,
    POSTGRES_SECRET,
    SecretContent,
    SecretsPlan,
)
from storefleet.node.servers.nats_server import PERMISSIONS

PLAN = SecretsPlan(
    admin_email="admin@example.com", postgres_address="postgres:5432", nats_address="nats:4222"
)


class MemorySecretStore:
    """Keep secrets in memory; `create` loses against the content in `faster`."""

    def __init__(self, faster: dict[str, SecretContent] | None = None) -> None:
        self.kept: dict[str, SecretContent] = {}
        self.faster = faster or {}

    async def read(self, name: str) -> SecretContent | None:
        return self.kept.get(name)

    async def create(self, name: str, content: SecretContent) -> None:
        self.kept.setdefault(name, self.faster.get(name, content))

    async def delete(self, name: str) -> None:
        self.kept.pop(name, None)


async def test_secrets_are_generated_once() -> None:
    secret_store = MemorySecretStore()
    assert await secrets.ensure_secrets(secret_store, PLAN) == [
        POSTGRES_SECRET,
        DATABASE_SECRET,
        NATS_SECRET,
        BUS_SECRET,
        ADMIN_SECRET,
    ]
    before = dict(secret_store.kept)
    assert await secrets.ensure_secrets(secret_store, PLAN) == []
    assert secret_store.kept == before


async def test_addresses_contain_server_passwords() -> None:
    secret_store = MemorySecretStore()
    await secrets.ensure_secrets(secret_store, PLAN)
    password = secret_store.kept[POSTGRES_SECRET]["postgres_storefleet"]
    assert secret_store.kept[DATABASE_SECRET] == {
        "url": f"postgresql://storefleet:{password}@postgres:5432/storefleet"
    }
    assert set(secret_store.kept[BUS_SECRET]) == set(PERMISSIONS)
    assert (
        secret_store.kept[BUS_SECRET]["reaper"]
        == f"nats://reaper:{secret_store.kept[NATS_SECRET]['nats_reaper']}@nats:4222"
    )
    every = [value for content in secret_store.kept.values() for value in content.values()]
    assert len(set(every)) == len(every)


async def test_external_servers_get_no_generated_secrets() -> None:
    secret_store = MemorySecretStore()
    await secrets.ensure_secrets(secret_store, SecretsPlan(admin_email="admin@example.com"))
    assert set(secret_store.kept) == {ADMIN_SECRET}


async def test_stores_url_is_added_for_store_databases() -> None:
    secret_store = MemorySecretStore()
    await secrets.ensure_secrets(
        secret_store,
        SecretsPlan(
            admin_email="a@example.com", postgres_address="127.0.0.1:5432", has_stores=True
        ),
    )
    assert secret_store.kept[DATABASE_SECRET]["stores_url"].startswith(
        "postgresql://storefleet_stores:"
    )


async def test_concurrent_creation_keeps_first_secret() -> None:
    theirs = {"postgres_postgres": "a", "postgres_storefleet": "b"}
    secret_store = MemorySecretStore({POSTGRES_SECRET: theirs})
    await secrets.ensure_secrets(secret_store, PLAN)
    assert ":b@" in secret_store.kept[DATABASE_SECRET]["url"]


async def test_lost_sign_in_is_recreated_for_same_tenant() -> None:
    secret_store = MemorySecretStore()
    await secrets.ensure_secrets(secret_store, PLAN)
    first = secret_store.kept.pop(ADMIN_SECRET)
    assert await secrets.ensure_secrets(secret_store, PLAN) == [ADMIN_SECRET]
    assert is_id(first["tenant"], TENANT_PREFIX)
    assert secret_store.kept[ADMIN_SECRET]["tenant"] == first["tenant"]
    assert secret_store.kept[ADMIN_SECRET]["password"] != first["password"]


async def test_incomplete_secret_is_reported_and_unchanged() -> None:
    secret_store = MemorySecretStore()
    secret_store.kept[NATS_SECRET] = {"nats_gateway": "x"}
    with pytest.raises(
        DeploymentError, match=r"storefleet-nats .* lacks nats_node, .*delete the secret"
    ):
        await secrets.ensure_secrets(secret_store, PLAN)
    assert secret_store.kept[NATS_SECRET] == {"nats_gateway": "x"}


async def test_secrets_are_deleted() -> None:
    secret_store = MemorySecretStore()
    await secrets.ensure_secrets(secret_store, PLAN)
    await secrets.delete_secrets(secret_store)
    await secrets.delete_secrets(secret_store)
    assert secret_store.kept == {}


async def test_folder_stores_secrets_in_private_files(tmp_path: Path) -> None:
    secret_store = FolderSecretStore(tmp_path)
    await secrets.ensure_secrets(secret_store, PLAN)
    (tmp_path / ".storefleet-nats.new").mkdir()  # a run that was killed
    await secret_store.delete(NATS_SECRET)
    await secret_store.delete(BUS_SECRET)
    assert await secrets.ensure_secrets(secret_store, PLAN) == [NATS_SECRET, BUS_SECRET]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o700}


def test_command_prints_names_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["platform", "secrets", "--folder", str(tmp_path), "--nats", "nats:4222"]) == 0
    said = capsys.readouterr()
    assert "storefleet-nats" in said.err
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in ("email", "tenant"):
            assert path.read_text() not in said.out + said.err
    assert main(["platform", "secrets", "--folder", str(tmp_path), "--delete"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_command_outside_cluster_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["platform", "secrets"]) == 1
    assert "--folder" in capsys.readouterr().err
