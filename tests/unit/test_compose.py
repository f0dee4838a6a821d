"""docker-compose.yml matches the Compose specification and the platform's image."""

import re
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from storefleet import __version__
from storefleet.core.settings import ENVIRONMENT_PREFIX, Settings
from storefleet.node.servers.nats_server import PERMISSIONS
from tests.support.services.compose import FILE, read_services, sort_by_dependency

SERVICES = read_services()
ONCE = {"volumes", "secrets", "setup"}
EVERY = pytest.mark.parametrize("name", SERVICES)


def specification() -> dict[str, Any]:
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if not key.startswith("x-")}


def test_file_matches_specification() -> None:
    PyCompose.from_yaml(yaml.safe_dump(specification())).to_spec()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("comand", ["x"]),
        ("ports", ["abc"]),
        ("restart", "sometimes"),
        ("depends_on", {"setup": {"condition": "soon"}}),
    ],
)
def test_specification_check_finds_mistake(key: str, value: object) -> None:
    content = specification()
    content["services"]["node"][key] = value
    with pytest.raises(ValueError, match=r"services\.node"):
        PyCompose.from_yaml(yaml.safe_dump(content))


def test_file_contains_whole_platform() -> None:
    assert set(SERVICES) == {
        *ONCE,
        "postgres",
        "nats",
        "gateway",
        "notifier",
        "provisioner",
        "reaper",
        "node",
    }
    assert list(sort_by_dependency(SERVICES))[:2] == ["volumes", "secrets"]


@EVERY
def test_containers_use_current_image_without_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == f"storefleet/platform:{__version__}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("cap_add", []) == (["CHOWN"] if name == "volumes" else [])
    assert ("user" in service) == (name == "volumes"), "all others are the image's own user"


@EVERY
def test_ports_are_bound_to_loopback(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@EVERY
def test_settings_exist_and_contain_no_secret(name: str) -> None:
    known = {f"{ENVIRONMENT_PREFIX}{field.upper()}" for field in Settings.model_fields}
    environment = SERVICES[name].get("environment", {})
    assert set(environment) <= known
    assert not re.search(
        r"://\S+:\S+@|PASSWORD|TOKEN", str(environment) + str(SERVICES[name]["command"])
    )


@EVERY
def test_services_wait_for_dependencies(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == (
            "service_completed_successfully" if needed in ONCE else "service_started"
        )


@EVERY
def test_containers_mount_own_secrets_only(name: str) -> None:
    mounts = {
        each["target"]: each.get("volume", {}).get("subpath")
        for each in SERVICES[name].get("volumes", [])
        if each["source"] == "secrets"
    }
    own = {
        "volumes": {"/volumes/secrets": None},
        "secrets": {"/secrets": None},
        "postgres": {"/run/secrets/postgres": "storefleet-postgres"},
        "nats": {"/run/secrets/nats": "storefleet-nats"},
    }
    user = {"setup": "node"}.get(name, name)
    expected = own.get(name, {"/run/secrets/storefleet": f"services/{user}"})
    if name in ("setup", "gateway"):
        expected |= {"/run/secrets/admin": "storefleet-admin"}
    if name == "setup":
        expected |= {"/run/secrets/postgres": "storefleet-postgres"}
    assert mounts == expected
    assert user in PERMISSIONS or name in own


def test_store_clients_share_store_network() -> None:
    assert {SERVICES[name].get("network_mode") for name in ("provisioner", "reaper")} == {
        "service:node"
    }
    first, last = (
        SERVICES["node"]["environment"][f"{ENVIRONMENT_PREFIX}STORE_PORT_{end}"]
        for end in ("FIRST", "LAST")
    )
    assert SERVICES["node"]["ports"] == [f"127.0.0.1:{first}-{last}:{first}-{last}"]
