"""setup-kind.sh on a machine in every state: fresh, complete, interrupted, stopped, conflicting.

The programs that it calls are stand-ins: the tests cover the script's decisions. No kind runs here.
"""

import json
import socket
from pathlib import Path

import pytest

from tests.support.setup.machine import How, Machine
from tools.images.plugins import BUILT_ENTRIES

PROGRAMS = ("docker", "curl")
EDGES: tuple[How, ...] = ("fail", "kill-before", "kill-after")
KIND = "setup-kind.sh"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ports() -> tuple[str, ...]:
    """Two of this machine that nobody has; what is real here is the look whether a port is free."""
    return ("--http-port", str(free_port()), "--https-port", str(free_port()))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, *PROGRAMS)
    engine = made.root / "charts" / "oscar"
    engine.mkdir()
    (engine / "engine.yaml").write_text(
        'versions:\n  - version: "4.2.1"\n    image: storefleet/oscar:4.2.1\n    notes: One\n'
    )
    shop = made.root / "stores" / "oscar"
    shop.mkdir(parents=True)
    (shop / "Dockerfile").write_text("FROM scratch\n")
    return made


def verbs(machine: Machine) -> list[str]:
    return [" ".join(call[:3]) for call in machine.calls()]


def test_setup_fresh_machine_creates_cluster(machine: Machine, ports: tuple[str, ...]) -> None:
    done = machine.run(KIND, *ports)
    assert done.returncode == 0, done.stderr
    state = machine.read()
    assert state["clusters"] == {"storefleet": "running"}
    assert state["releases"] == {"traefik": "deployed"}
    assert {"storefleet/oscar:4.2.1", "storefleet/platform:local-" + "ab" * 8} == set(
        state["loaded"]
    )
    assert (
        '"default_version": "4.2.1"'
        in (machine.root / "build" / "images" / "catalogue.json").read_text()
    )
    create = next(call for call in machine.calls() if call[:3] == ["kind", "create", "cluster"])
    assert create[create.index("--image") + 1].startswith("kindest/node:v1.37.0@sha256:")
    install = next(call for call in machine.calls() if call[:3] == ["helm", "upgrade", "--install"])
    assert install[install.index("--version") + 1] == "41.6.1"


def test_images_previous_version_uses_own_lock(machine: Machine, ports: tuple[str, ...]) -> None:
    with (machine.root / "charts" / "oscar" / "engine.yaml").open("a") as file:
        file.write('  - version: "4.2"\n    image: storefleet/oscar:4.2\n    notes: Two\n')
        file.write(
            '  - version: "4.1"\n    image: example.com/oscar:4.1\n    notes: Made elsewhere\n'
        )
    (machine.root / "stores" / "oscar" / "previous").mkdir()
    assert machine.run(KIND, *ports).returncode == 0
    built = [
        call for call in machine.calls() if call[:2] == ["docker", "build"] and "--file" in call
    ]
    assert [
        (call[call.index("--tag") + 1], call[call.index("--build-arg") + 1]) for call in built
    ] == [
        ("storefleet/oscar:4.2.1", "LOCKS=stores/oscar"),
        ("storefleet/oscar:4.2", "LOCKS=stores/oscar/previous"),
    ]
    oscar = json.loads((machine.root / "build" / "images" / "catalogue.json").read_text())["oscar"]
    assert oscar["default_version"] == "4.2.1"
    assert [version["version"] for version in oscar["versions"]] == ["4.2.1", "4.2"]


def test_images_woocommerce_versions_follow_plugins(
    machine: Machine, ports: tuple[str, ...], tmp_path: Path
) -> None:
    shop = machine.root / "stores" / "woocommerce"
    shop.mkdir()
    (shop / "Dockerfile").write_text("ARG VERSION=11.1.2\nFROM scratch\n")
    (machine.root / "charts" / "woocommerce").mkdir()
    (machine.root / "charts" / "woocommerce" / "engine.yaml").write_text("versions: []\n")
    assert machine.run(KIND, *ports).returncode == 0
    catalogue = machine.root / "build" / "images" / "catalogue.json"
    names = [
        version["version"]
        for version in json.loads(catalogue.read_text())["woocommerce"]["versions"]
    ]
    assert names == ["11.1.2", "11.1.2-2"], "the theme's revisions"
    plugin = tmp_path / "plugin"
    for name in BUILT_ENTRIES:
        (plugin / name).mkdir(parents=True)
    (plugin / "woocommerce.php").write_text(
        "/*\n * Plugin Name: WooCommerce\n * Version: 10.9.4\n */\n"
    )
    machine.forget_calls()
    assert machine.run(KIND, "images", WOOCOMMERCE_DIRS=str(plugin)).returncode == 0
    built = [call for call in machine.calls() if f"plugin={plugin}" in call]
    assert ["THEME=1" in call for call in built] == [True, False]
    names = [
        version["version"]
        for version in json.loads(catalogue.read_text())["woocommerce"]["versions"]
    ]
    assert names == ["10.9.4", "10.9.4-2"]


def test_setup_repeated_changes_nothing(machine: Machine, ports: tuple[str, ...]) -> None:
    assert machine.run(KIND, *ports).returncode == 0
    before = machine.end()
    machine.forget_calls()
    done = machine.run(KIND)  # it remembers ports and domain
    assert done.returncode == 0, done.stderr
    assert machine.end() == before
    assert not any(
        call[:2] in (["kind", "create"], ["kind", "delete"], ["curl", "--fail"])
        for call in machine.calls()
    )


def test_setup_dry_run_changes_nothing(machine: Machine, ports: tuple[str, ...]) -> None:
    done = machine.run(KIND, *ports, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert machine.calls() == []
    assert machine.files() == {}
    for word in (
        "kind create cluster",
        "helm upgrade --install traefik",
        "scripts/deploy",
        "download",
    ):
        assert word in done.stdout


def test_setup_dry_run_reports_problems_and_continues(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    done = machine.run(KIND, "--dry-run")
    assert done.returncode == 0
    assert "Docker is not installed" in done.stderr
    assert "kind create cluster" in done.stdout


#: Downloads, cluster, Traefik, images: what a whole run changes.
CALLS = 11
#: Each of them cut in the middle; failed ones and those cut at their edges take turns.
TROUBLES: list[tuple[int, How]] = [
    each
    for number in range(1, CALLS + 1)
    for each in ((number, "kill-half"), (number, EDGES[number % len(EDGES)]))
]


@pytest.mark.parametrize(("number", "how"), TROUBLES)
def test_setup_stopped_anywhere_continues(
    machine: Machine, ports: tuple[str, ...], number: int, how: How
) -> None:
    machine.trouble(number, how)
    first = machine.run(KIND, *ports)
    stopped = len(machine.calls())
    assert first.returncode != 0, "there is no call of that number"
    assert stopped == number
    machine.calm()
    again = machine.run(KIND, *ports)
    assert again.returncode == 0, again.stderr
    end = machine.end()
    assert end["clusters"] == {"storefleet": "running"}
    assert end["releases"] == {"traefik": "deployed"}
    assert len(end["loaded"]) == 2
    leftovers = [name for name in end["files"] if name.count(".") > 2 and ".new" in name]
    assert leftovers == []


def test_setup_run_has_expected_number_of_calls(machine: Machine, ports: tuple[str, ...]) -> None:
    assert machine.run(KIND, *ports).returncode == 0
    assert len(machine.calls()) == CALLS


def test_setup_failure_names_cause_and_next_step(machine: Machine, ports: tuple[str, ...]) -> None:
    machine.trouble(4, "fail")
    done = machine.run(KIND, *ports)
    assert done.returncode == 1
    assert "kind cannot create the cluster" in done.stderr
    assert "Why:" in done.stderr
    assert "Next:" in done.stderr


def test_setup_without_docker_suggests_bare_cluster(tmp_path: Path) -> None:
    done = Machine(tmp_path, "curl").run(KIND)
    assert done.returncode == 1
    assert "Docker is not installed" in done.stderr
    assert "CLUSTER=bare" in done.stderr


def test_setup_unresponsive_docker_fails(machine: Machine) -> None:
    machine.write(docker="down")
    done = machine.run(KIND)
    assert done.returncode == 1
    assert "systemctl start docker" in done.stderr
    assert machine.calls() == []


def test_tools_other_kind_version_is_not_used(machine: Machine, ports: tuple[str, ...]) -> None:
    machine.install("kind")
    machine.write(kind_version="v0.20.0")
    done = machine.run(KIND, *ports, "cluster")
    assert "kind on PATH is v0.20.0" in done.stdout
    assert (machine.state_folder / "bin" / "kind").exists()


def test_tools_helm_3_is_not_used(machine: Machine, ports: tuple[str, ...]) -> None:
    machine.install("helm")
    machine.write(helm_version="v3.18.0+g1")
    assert machine.run(KIND, *ports, "cluster").returncode == 0
    assert (machine.state_folder / "bin" / "helm").exists()


def test_tools_download_with_other_checksum_is_rejected(
    machine: Machine, ports: tuple[str, ...]
) -> None:
    url = "https://github.com/kubernetes-sigs/kind/releases/download/v0.33.0/kind-linux-amd64"
    machine.write(forged=url)
    done = machine.run(KIND, *ports)
    assert done.returncode == 1
    assert "does not match its checksum" in done.stderr
    assert machine.files() == {}


def test_setup_occupied_port_fails(machine: Machine) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = machine.run(KIND, "--http-port", str(port), "--https-port", str(free_port()))
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stderr
    assert "--http-port" in done.stderr
    assert machine.read()["clusters"] == {}


def test_setup_foreign_cluster_is_left_unchanged(machine: Machine, ports: tuple[str, ...]) -> None:
    machine.write(clusters={"storefleet": "running"})
    done = machine.run(KIND, *ports)
    assert done.returncode == 1
    assert "not created from this folder" in done.stderr
    assert machine.run(KIND, "delete").returncode == 1
    assert machine.read()["clusters"] == {"storefleet": "running"}


def test_setup_other_ports_do_not_recreate_cluster(
    machine: Machine, ports: tuple[str, ...]
) -> None:
    assert machine.run(KIND, *ports).returncode == 0
    done = machine.run(KIND, "--http-port", str(free_port()))
    assert done.returncode == 1
    assert "created with other options" in done.stderr


def test_setup_other_domain_only_redeploys(machine: Machine, ports: tuple[str, ...]) -> None:
    assert machine.run(KIND, *ports).returncode == 0
    assert machine.run(KIND, "--domain", "localhost").returncode == 0
    assert '"domain": "localhost"' in (machine.state_folder / "kind.json").read_text()


def test_setup_stopped_node_is_started(machine: Machine, ports: tuple[str, ...]) -> None:
    assert machine.run(KIND, *ports).returncode == 0
    machine.write(clusters={"storefleet": "stopped"})
    machine.forget_calls()
    assert machine.run(KIND).returncode == 0
    assert ["docker", "start", "storefleet-control-plane"] in machine.calls()
    assert machine.read()["clusters"] == {"storefleet": "running"}


def test_setup_interrupted_helm_release_is_repaired(
    machine: Machine, ports: tuple[str, ...]
) -> None:
    assert machine.run(KIND, *ports).returncode == 0
    for status, verb in (("pending-install", "uninstall"), ("pending-upgrade", "rollback")):
        machine.write(releases={"traefik": status})
        machine.forget_calls()
        assert machine.run(KIND).returncode == 0
        assert f"helm {verb} traefik" in verbs(machine)


def test_delete_removes_cluster_and_setup_recreates_it(
    machine: Machine, ports: tuple[str, ...]
) -> None:
    assert machine.run(KIND, *ports, "--name", "trial").returncode == 0
    assert machine.run(KIND, "delete").returncode == 0
    assert machine.read()["clusters"] == {}
    assert machine.run(KIND, "delete").returncode == 0
    assert not (machine.state_folder / "kind.begun").exists()
    assert machine.run(KIND, *ports).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--domain", "UPPER"), "--domain"),
        (("--http-port", "0"), "--http-port"),
        (("--http-port", "80; rm -rf /"), "--http-port"),
        (("--name", "$(id)"), "--name"),
        (("--listen", "everywhere"), "--listen"),
        (("--name",), "--name needs a value"),
        (("sideways",), "sideways"),
    ],
)
def test_setup_invalid_arguments_are_explained(
    machine: Machine, arguments: tuple[str, ...], named: str
) -> None:
    done = machine.run(KIND, *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert machine.calls() == []


def test_which_cluster_selects_kind_or_bare(machine: Machine) -> None:
    def chosen(*wanted: str) -> tuple[int, str]:
        done = machine.run("../tools/which-cluster", *wanted)
        return done.returncode, done.stdout.strip()

    assert chosen() == (0, "kind")
    assert chosen("bare") == (0, "bare")
    machine.write(docker="down")
    assert chosen() == (0, "bare")
    assert chosen("kind") == (0, "kind")
    assert chosen("k3s") == (2, "")
    machine.state_folder.mkdir()
    (machine.state_folder / "settings.json").touch()
    machine.write(docker="up")
    assert chosen() == (0, "bare")
    assert chosen("kind") == (1, "")
    (machine.state_folder / "settings.json").unlink()
    (machine.state_folder / "kind.begun").touch()
    assert chosen() == (0, "kind")
    assert chosen("bare") == (1, "")
