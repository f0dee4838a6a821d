"""The configuration file of an Oscar store: secrets in it or beside it, and the bind address."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.services.platform import ROOT

sys.path.append(str(ROOT / "stores" / "oscar" / "src"))

from storefleet_oscar.configuration import ConfigurationError, parse_store


def make_content(**more: Any) -> dict[str, Any]:
    return {
        "store_id": "sto_1",
        "name": "acme",
        "host": "acme.localhost",
        "port": 8101,
        "url": "http://acme.localhost:8101/",
        "database": {
            "host": "127.0.0.1",
            "port": 5432,
            "name": "d",
            "user": "u",
            "password": "db-password",
        },
        "secret_key": "key",
        "admin": {"username": "admin@acme.localhost", "password": "admin-password"},
        "parameters": {},
        "data_dir": "files",
        **more,
    }


def test_local_configuration_contains_secrets_and_binds_loopback() -> None:
    store = parse_store(make_content())
    assert (store.address, store.template_dir) == ("127.0.0.1", None)
    assert (store.database.password, store.secret_key) == ("db-password", "key")
    assert (store.admin_email, store.admin_password) == ("admin@acme.localhost", "admin-password")
    assert "password" not in repr(store).replace("password=", "")


def test_container_configuration_reads_secret_files(tmp_path: Path) -> None:
    for name, text in {
        "db": "p w\u00e9\n",
        "key": "k" * 50,
        "user": "admin@x",
        "pass": "a'b",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    database = {
        "host": "database",
        "port": 5432,
        "name": "d",
        "user": "u",
        "password_file": str(tmp_path / "db"),
    }
    admin = {"username_file": str(tmp_path / "user"), "password_file": str(tmp_path / "pass")}
    told = make_content(address="0.0.0.0", template_dir="/t", database=database, admin=admin)
    del told["secret_key"]
    store = parse_store({**told, "secret_key_file": str(tmp_path / "key")})
    assert (store.address, store.template_dir) == ("0.0.0.0", Path("/t"))
    assert (store.database.password, store.secret_key) == ("p w\u00e9", "k" * 50)
    assert (store.admin_email, store.admin_password) == ("admin@x", "a'b")


@pytest.mark.parametrize(
    ("held", "complaint"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "does not hold one line of text"),
        (b"one\ntwo\n", "does not hold one line of text"),
        (b"x" * 5000, "does not hold one line of text"),
        (b"\xff", "is not UTF-8 text"),
    ],
)
def test_invalid_secret_file_error_names_file_without_content(
    tmp_path: Path, held: bytes | None, complaint: str
) -> None:
    path = tmp_path / "secret"
    if held is not None:
        path.write_bytes(held)
    told = make_content()
    del told["secret_key"]
    with pytest.raises(ConfigurationError) as caught:
        parse_store({**told, "secret_key_file": str(path)})
    assert str(caught.value) == f"the file {path} for the entry 'secret_key' {complaint}"


@pytest.mark.parametrize("entry", ["database", "secret_key", "admin", "port", "data_dir"])
def test_missing_entry_error_names_entry(entry: str) -> None:
    told = make_content()
    del told[entry]
    with pytest.raises(ConfigurationError, match=entry):
        parse_store(told)


def test_secret_of_wrong_type_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="wrong type"):
        parse_store(make_content(secret_key=7))
