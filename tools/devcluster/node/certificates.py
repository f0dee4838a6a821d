"""Create the cluster's certificate authorities and a certificate for each program, with openssl.

The subject of a certificate is the user that the API server authorizes.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.devcluster import commands
from tools.devcluster.layout import CLUSTER_DOMAIN, NODE_NAME, Network

AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 365
_KEY_OPTIONS = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """A user with its groups; servers also have subject alternative names."""

    name: str
    user: str
    groups: tuple[str, ...] = ()
    alternative_names: tuple[str, ...] = ()
    authority: str = "ca"

    @property
    def subject(self) -> str:
        """The subject in openssl's syntax: groups as organizations, the user as common name."""
        return "".join(f"/O={group}" for group in self.groups) + f"/CN={self.user}"

    def make_extensions(self) -> list[str]:
        """List the X.509 extensions in openssl's syntax."""
        usage = ["clientAuth", *(["serverAuth"] if self.alternative_names else [])]
        wanted = [
            f"extendedKeyUsage={','.join(usage)}",
            "keyUsage=critical,digitalSignature",
            "basicConstraints=CA:FALSE",
        ]
        return [
            *wanted,
            *(
                [f"subjectAltName={','.join(self.alternative_names)}"]
                if self.alternative_names
                else []
            ),
        ]


def list_certificates(network: Network) -> list[Certificate]:
    """List the certificates of all programs, of the administrator and of the cluster's parts."""
    service = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    api = (
        *service.split(","),
        f"DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "DNS:localhost",
        "IP:127.0.0.1",
        f"IP:{network.node}",
        f"IP:{network.api_service}",
    )
    return [
        Certificate("admin", "admin", ("system:masters",)),
        Certificate("kube-apiserver", "kube-apiserver", alternative_names=api),
        Certificate("apiserver-to-kubelet", "kube-apiserver-kubelet-client"),
        Certificate("kube-controller-manager", "system:kube-controller-manager"),
        Certificate("kube-scheduler", "system:kube-scheduler"),
        Certificate("kube-proxy", "system:kube-proxy"),
        Certificate("kubelet", f"system:node:{NODE_NAME}", ("system:nodes",)),
        Certificate(
            "kubelet-server",
            NODE_NAME,
            alternative_names=(f"DNS:{NODE_NAME}", f"IP:{network.node}"),
        ),
        Certificate("coredns", "system:coredns"),
        Certificate("volumes", "bare-cluster:volumes"),
        Certificate("network-policies", "bare-cluster:network-policies"),
        # etcd trusts every certificate of its authority, so it has an authority of its own.
        Certificate(
            "etcd-server",
            "etcd",
            alternative_names=("DNS:localhost", "IP:127.0.0.1"),
            authority="etcd-ca",
        ),
        Certificate("apiserver-to-etcd", "kube-apiserver", authority="etcd-ca"),
    ]


def create_certificates(folder: Path, network: Network) -> None:
    """Create the authorities and the service account key once, and all certificates every time.

    Certificates are valid for a year; recreating them at each start keeps them from expiring.
    """
    for authority in ("ca", "etcd-ca"):
        if not (folder / f"{authority}.crt").is_file():
            _create_authority(folder, authority)
    if not (folder / "service-accounts.pub").is_file():
        _create_service_account_keys(folder)
    for certificate in list_certificates(network):
        _create_certificate(folder, certificate)


def _create_authority(folder: Path, name: str) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        *_KEY_OPTIONS,
        "-days",
        str(AUTHORITY_DAYS),
        "-subj",
        f"/CN=storefleet {name}",
    ]
    usage = [
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ]
    _create_key_pair(folder, name, [*command, *usage])


def _create_certificate(folder: Path, certificate: Certificate) -> None:
    authority = folder / certificate.authority
    signer = ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    command = [
        "openssl",
        "req",
        "-x509",
        *_KEY_OPTIONS,
        *signer,
        "-days",
        str(CERTIFICATE_DAYS),
        "-subj",
        certificate.subject,
    ]
    extensions = [
        word for extension in certificate.make_extensions() for word in ("-addext", extension)
    ]
    _create_key_pair(folder, certificate.name, [*command, *extensions])


def _create_key_pair(folder: Path, name: str, command: Sequence[str]) -> None:
    """Create a key and its certificate; the certificate is written last and implies the key."""
    key, certificate = folder / f".{name}.key", folder / f".{name}.crt"
    commands.run_command([*command, "-keyout", key, "-out", certificate])
    for path in (key, certificate):
        path.chmod(0o600)
        path.replace(folder / path.name.removeprefix("."))


def _create_service_account_keys(folder: Path) -> None:
    key, public = folder / "service-accounts.key", folder / ".service-accounts.pub"
    commands.run_command(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key]
    )
    key.chmod(0o600)
    commands.run_command(["openssl", "pkey", "-in", key, "-pubout", "-out", public])
    shutil.move(public, folder / "service-accounts.pub")
