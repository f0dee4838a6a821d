"""The folder and the network addresses of a cluster."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tools.devcluster.errors import ClusterError

TOOLS = Path(__file__).resolve().parent.parent
PROJECT = TOOLS.parent
DEFAULT_STATE = PROJECT / ".storefleet" / "cluster"
DEFAULT_BLOCK = "10.200.0.0/16"
NODE_NAME = "storefleet"
CLUSTER_DOMAIN = "cluster.local"
#: Folders that the node replaces by its own; some programs have these paths built in.
NODE_FOLDERS = {"lib": Path("/var/lib"), "log": Path("/var/log")}
NODE_RUN = Path("/run")
NODE_LINK = "eth0"
#: Netfilter queue in which the first packet of a pod's connection waits for its verdict.
PACKET_QUEUE = 100


@dataclass(frozen=True)
class Layout:
    """The state folder of a cluster and the paths in it."""

    state: Path

    @cached_property
    def name(self) -> str:
        """The cluster's unique name on this machine, used for its cgroups."""
        return f"storefleet-{hashlib.sha256(os.fsencode(self.state)).hexdigest()[:8]}"

    @property
    def settings(self) -> Path:
        """The options that the cluster keeps across restarts."""
        return self.state / "settings.json"

    @property
    def processes(self) -> Path:
        """The table of the node's processes, see `process_table`."""
        return self.state / "processes.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def programs(self) -> Path:
        """Links to the built programs."""
        return self.state / "bin"

    @property
    def certificates(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def configuration(self) -> Path:
        """Configuration files of the programs."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """A log file for each process."""
        return self.state / "logs"

    @property
    def volumes(self) -> Path:
        """A folder for each persistent volume."""
        return self.state / "volumes"

    def get_node_folder(self, folder: str) -> Path:
        """Return the path of the node's version of one of NODE_FOLDERS."""
        return self.state / "node" / folder

    def list_folders(self) -> list[Path]:
        """List all folders below the state folder."""
        own = [self.programs, self.certificates, self.configuration, self.logs, self.volumes]
        return [*own, *(self.get_node_folder(folder) for folder in NODE_FOLDERS)]

    def create_folders(self) -> None:
        """Create the folders; the state folder is private, its content has the programs' modes."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        for folder in self.list_folders():
            folder.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Network:
    """The addresses of a cluster, all from one /16 block: the link, Services and pods."""

    block: IPv4Network

    @classmethod
    def parse(cls, text: str) -> "Network":
        """Parse the value of --block; raise ClusterError unless it is an IPv4 /16."""
        try:
            block = IPv4Network(text)
        except ValueError as error:
            raise ClusterError(
                f"--block {text}: {error}. Pass an IPv4 block such as {DEFAULT_BLOCK}."
            ) from error
        if block.prefixlen != 16:
            raise ClusterError(f"--block {text}: the block must be a /16, such as {DEFAULT_BLOCK}.")
        return cls(block)

    @property
    def link(self) -> str:
        """The name of the machine's end of the link to the node."""
        first, second = self.block.network_address.packed[:2]
        return f"bare-{first}-{second}"

    @property
    def link_block(self) -> IPv4Network:
        """The addresses of the link: a /30 at the start of the block."""
        return IPv4Network((self.block.network_address, 30))

    @property
    def host(self) -> IPv4Address:
        """The machine's address on the link."""
        return self.link_block[1]

    @property
    def node(self) -> IPv4Address:
        """The node's address on the link."""
        return self.link_block[2]

    @cached_property
    def services(self) -> IPv4Network:
        """The addresses of Services: the second quarter of the block."""
        return list(self.block.subnets(new_prefix=18))[1]

    @cached_property
    def pods(self) -> IPv4Network:
        """The addresses of pods: the second half of the block."""
        return list(self.block.subnets(new_prefix=17))[1]

    @property
    def api_service(self) -> IPv4Address:
        """The address of the Service `kubernetes`."""
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        """The address of the Service `kube-dns`."""
        return self.services[10]

    @property
    def api_url(self) -> str:
        """The API server's URL, on the node's address."""
        return f"https://{self.node}:6443"
