"""setup-k3s.sh on a server in every state: fresh, complete, interrupted, conflicting DNS or ports.

The programs that it calls are stand-ins: the tests cover the script's decisions. No k3s runs here.
"""

from pathlib import Path

import pytest
import yaml

from tests.support.cluster.charts import render_objects
from tests.support.setup.machine import How, Machine

K3S = "setup-k3s.sh"
HERE = "198.51.100.7"  # as the stand-in of ip says
PLAIN = ("--domain", "shops.example.com", "--email", "owner@example.com", "--no-tls")
EDGES: tuple[How, ...] = ("fail", "kill-before", "kill-after")
#: Changes of a whole run: firewall, k3s, Helm, Traefik's configuration, images, platform.
CALLS = 11
TROUBLES: list[tuple[int, How]] = [
    each
    for number in range(1, CALLS + 1)
    for each in ((number, "kill-half"), (number, EDGES[number % len(EDGES)]))
]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, "curl", "systemctl", "nft", "kubectl", "sh", "getent", "ip")
    made.write(names={f"{name}.shops.example.com": HERE for name in ("storefleet", "any-store")})
    images = made.root / "build" / "images"
    images.mkdir(parents=True)
    (images / "platform.oci.tar").touch()
    return made


def test_setup_fresh_server_installs_platform(machine: Machine) -> None:
    done = machine.run(K3S, *PLAIN)
    assert done.returncode == 0, done.stderr
    end = machine.end()
    assert (end["k3s"], end["releases"]) == ("running", {"storefleet": "deployed"})
    assert end["loaded"] == {str(machine.root / "build" / "images" / "platform.oci.tar"): "k3s"}
    values = (machine.state_folder / "values.yaml").read_text()
    assert "host: storefleet.shops.example.com" in values
    assert "backup: {enabled: true}" in values
    assert (machine.state_folder / "values.yaml").stat().st_mode & 0o777 == 0o600


def test_setup_repeated_changes_nothing(machine: Machine) -> None:
    assert machine.run(K3S, *PLAIN).returncode == 0
    before = machine.end()
    machine.forget_calls()
    assert machine.run(K3S, *PLAIN).returncode == 0
    assert machine.end() == before
    assert not any(call[0] == "curl" for call in machine.calls())


def test_setup_dry_run_changes_nothing(machine: Machine) -> None:
    before = machine.files()
    done = machine.run(K3S, *PLAIN, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert machine.calls() == []
    assert machine.files() == before
    for word in (
        "firewall.nft",
        "download https://github.com/k3s-io/k3s",
        "helm upgrade --install storefleet",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(("number", "how"), TROUBLES)
def test_setup_stopped_anywhere_continues(machine: Machine, number: int, how: How) -> None:
    machine.trouble(number, how)
    first = machine.run(K3S, *PLAIN)
    assert first.returncode != 0
    assert len(machine.calls()) == number
    machine.calm()
    again = machine.run(K3S, *PLAIN)
    assert again.returncode == 0, again.stderr
    end = machine.end()
    assert (end["k3s"], end["releases"]) == ("running", {"storefleet": "deployed"})


def test_setup_run_has_expected_number_of_calls(machine: Machine) -> None:
    assert machine.run(K3S, *PLAIN).returncode == 0
    assert len(machine.calls()) == CALLS


def test_setup_foreign_dns_name_stops_before_changes(machine: Machine) -> None:
    for names, told in (
        ({}, "nothing"),
        ({"storefleet.shops.example.com": "203.0.113.9"}, "203.0.113.9"),
    ):
        machine.write(names=names)
        done = machine.run(K3S, *PLAIN)
        assert done.returncode == 1
        assert told in done.stderr
        assert f"*.shops.example.com. A {HERE}" in done.stderr
        assert machine.calls() == []
    assert machine.run(K3S, *PLAIN, "--skip-dns").returncode == 0


def test_firewall_opens_required_ports_only(machine: Machine) -> None:
    def opened(*options: str) -> str:
        assert machine.run(K3S, *PLAIN, *options).returncode == 0
        rules = (machine.folder / "etc" / "storefleet" / "firewall.nft").read_text()
        assert "policy drop" in rules
        return next(line.strip() for line in rules.splitlines() if "tcp dport" in line)

    assert opened() == "tcp dport { 22, 80, 443 } accept"
    assert opened("--open-api", "--ssh-port", "2222") == "tcp dport { 2222, 80, 443, 6443 } accept"


def test_firewall_uses_ufw_where_installed(machine: Machine) -> None:
    machine.install("ufw")
    assert machine.run(K3S, *PLAIN).returncode == 0
    calls = [" ".join(call[1:]) for call in machine.calls() if call[0] == "ufw"]
    assert calls[:3] == ["allow 22/tcp", "allow 80/tcp", "allow 443/tcp"]
    assert calls[-2:] == ["default deny incoming", "--force enable"]
    assert "allow 6443/tcp" not in calls


def test_firewall_keeps_ssh_session_reachable(machine: Machine) -> None:
    session = "192.0.2.9 50000 198.51.100.7 2222"
    done = machine.run(K3S, *PLAIN, SSH_CONNECTION=session)
    assert done.returncode == 1
    assert "--ssh-port 2222" in done.stderr
    assert machine.calls() == []
    assert machine.run(K3S, *PLAIN, "--ssh-port", "2222", SSH_CONNECTION=session).returncode == 0


def test_setup_existing_k3s_is_kept_without_option(machine: Machine) -> None:
    folder = machine.folder / "usr"
    folder.mkdir()
    other = folder / "k3s"
    other.write_text("#!/bin/sh\necho 'k3s version v1.30.0+k3s1 (abc)'\n")
    other.chmod(0o755)
    done = machine.run(K3S, *PLAIN)
    assert done.returncode == 1
    assert "v1.30.0+k3s1" in done.stderr
    assert "--replace-k3s" in done.stderr
    assert machine.run(K3S, *PLAIN, "--replace-k3s").returncode == 0
    assert ["systemctl", "restart", "k3s"] in machine.calls()


def test_tls_uses_given_certificate(machine: Machine, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("-----")
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    assert machine.run(K3S, *PLAIN[:4], *files).returncode == 0
    applied = machine.read()["applied"]
    assert any("defaultCertificate: {secretName: storefleet-wildcard}" in each for each in applied)
    assert any("to: websecure" in each for each in applied)
    assert "scheme: https" in (machine.state_folder / "values.yaml").read_text()


def test_tls_uses_cert_manager_with_issuer(machine: Machine, tmp_path: Path) -> None:
    issuer = tmp_path / "issuer.yaml"
    issuer.write_text("kind: ClusterIssuer\n")
    assert machine.run(K3S, *PLAIN[:4], "--issuer", str(issuer)).returncode == 0
    assert machine.read()["releases"]["cert-manager"] == "deployed"
    assert any('dnsNames: ["*.shops.example.com"]' in each for each in machine.read()["applied"])


def test_setup_without_images_explains_sources(machine: Machine) -> None:
    (machine.root / "build" / "images" / "platform.oci.tar").unlink()
    done = machine.run(K3S, *PLAIN)
    assert done.returncode == 1
    assert "--image-prefix" in done.stderr
    assert machine.run(K3S, *PLAIN, "--image-prefix", "registry.example.com/").returncode == 0
    assert (
        'repository: "registry.example.com/storefleet/platform"'
        in (machine.state_folder / "values.yaml").read_text()
    )


def test_setup_without_root_fails(machine: Machine) -> None:
    done = machine.run(K3S, *PLAIN, STOREFLEET_ASSUME_ROOT="1000")
    assert done.returncode == 1
    assert "as root" in done.stderr
    assert machine.calls() == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--domain"),
        (("--domain", "shops.example.com"), "--email"),
        (PLAIN[:4], "One TLS option"),
        ((*PLAIN, "--issuer", "issuer.yaml"), "One TLS option"),
        ((*PLAIN[:4], "--tls-cert", "cert.pem"), "given together"),
        ((*PLAIN[:4], "--issuer", "nowhere.yaml"), "nowhere.yaml"),
        ((*PLAIN[:2], "--email", 'a"b@example.com', "--no-tls"), "--email"),
        ((*PLAIN, "--image-prefix", "registry"), "--image-prefix"),
    ],
)
def test_setup_invalid_arguments_are_explained(
    machine: Machine, arguments: tuple[str, ...], named: str
) -> None:
    done = machine.run(K3S, *arguments)
    assert done.returncode == 2
    assert named in done.stderr


@pytest.mark.parametrize("tls", ["files", "none"])
def test_chart_accepts_generated_values(machine: Machine, tmp_path: Path, tls: str) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("-----")
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    assert (
        machine.run(K3S, *PLAIN[:4], *(files if tls == "files" else ("--no-tls",))).returncode == 0
    )
    values = yaml.safe_load((machine.state_folder / "values.yaml").read_text())
    objects = render_objects(files=("values-prod.yaml",), values=values)
    ingress = next(each for each in objects if each["kind"] == "Ingress")
    assert ingress["spec"]["rules"][0]["host"] == "storefleet.shops.example.com"
    assert ("tls" in ingress["spec"]) is (tls == "files")
    assert {"backup", "restore"} == {
        each["metadata"]["name"] for each in objects if each["kind"] == "CronJob"
    }
    services = [each for each in objects if each["kind"] == "Deployment"]
    told = {
        item["name"]: item["value"]
        for item in services[0]["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    scheme = "https" if tls == "files" else "http"
    assert told["STOREFLEET_PUBLIC_URL"] == f"{scheme}://storefleet.shops.example.com"
    assert told["STOREFLEET_INGRESS_ADDRESS"] == f"{scheme}://traefik.kube-system.svc"
    assert (told["STOREFLEET_STORE_SCHEME"], told["STOREFLEET_EXPOSURE"]) == (scheme, "ingress")
