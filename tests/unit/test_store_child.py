"""The configuration of a local store when its process starts."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from storefleet.database.repositories.placements import Placement
from storefleet.engines.catalogue import load_engines
from storefleet.node.stores.store_child import StoreChildFactory
from storefleet.runtimes.local.file_layout import FileLayout
from tests.support.http.mail_store import write_postal_engine
from tests.support.services.platform import free_ports

STORE_ID = "sto_0123456789abcdef"


async def start(folder: Path) -> dict[str, object]:
    """Prepare a start like the supervisor, and return the configuration."""
    layout = FileLayout(folder)
    environment = SimpleNamespace(
        make_command=list, make_variables=lambda **variables: variables, readable_paths=()
    )
    factory = StoreChildFactory(
        engines=load_engines([folder / "engines"], runtime="local"),
        find_environment=lambda _engine, _version: environment,  # type: ignore[arg-type,return-value]
        file_layout=layout,
        stores_url="postgresql://127.0.0.1:5499/postgres",
        account=None,
    )
    placement = Placement(
        store_id=STORE_ID,
        operation_id="op_1",
        engine="postal",
        engine_version="1",
        port=free_ports(1)[0],
        desired="running",
        observed="stopped",
        pid=None,
        restarts=0,
        message="",
    )
    child, problem = factory.make_child(placement)
    assert child is not None, problem
    assert child.prepare is not None
    await child.prepare()
    content: dict[str, object] = json.loads(layout.config_file(STORE_ID).read_text())
    return content


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    write_postal_engine(tmp_path / "engines")
    path = FileLayout(tmp_path).config_file(STORE_ID)
    FileLayout(tmp_path).files_dir(STORE_ID).mkdir(parents=True)
    database = {"host": "127.0.0.1", "port": 5432, "name": "st", "password": "kept"}
    path.write_text(json.dumps({"store_id": STORE_ID, "database": database}))
    path.chmod(0o600)
    return path


async def test_store_of_earlier_version_gets_mail_key_once(
    tmp_path: Path, config_file: Path
) -> None:
    first = await start(tmp_path)
    assert len(str(first["mail_key"])) >= 40
    assert first["database"] == {
        "host": "127.0.0.1",
        "port": 5499,
        "name": "st",
        "password": "kept",
    }
    assert config_file.stat().st_mode & 0o777 == 0o600
    written = config_file.stat().st_mtime_ns
    assert await start(tmp_path) == first
    assert config_file.stat().st_mtime_ns == written
