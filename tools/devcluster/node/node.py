"""Set up the node's mounts, network and host name from inside its namespaces.

The node's first process does this before it starts anything else. All of it belongs to namespaces
that end with that process, so nothing here is undone.
"""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tools.devcluster import commands
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import (
    NODE_FOLDERS,
    NODE_LINK,
    NODE_NAME,
    NODE_RUN,
    PACKET_QUEUE,
    PROJECT,
    Layout,
    Network,
)
from tools.devcluster.node.configuration import KUBELET_KERNEL_SETTINGS

LINK_TIMEOUT_S = 20.0
_BIND, _RECURSIVE, _SHARED = 0x1000, 0x4000, 1 << 20


def prepare_node(layout: Layout, network: Network) -> None:
    """Set up fresh namespaces as a node; the link is created by `up` from outside."""
    socket.sethostname(NODE_NAME)
    # Mount propagation to pods needs shared mounts; they are shared within the node only.
    mount(None, Path("/"), flags=_RECURSIVE | _SHARED)
    hide_host_folders(
        layout, needed={layout.state, PROJECT, Path(sys.prefix), *list_program_folders(layout)}
    )
    bind_path(layout.configuration / "hosts", Path("/etc/hosts"))
    # The machine's name server is unreachable, and each pull of a missing image would wait for it.
    if (names := Path("/etc/resolv.conf")).exists():
        bind_path(layout.configuration / "resolv.conf", names)
    for name in KUBELET_KERNEL_SETTINGS:
        bind_path(get_kernel_setting_file(layout, name), Path("/proc/sys") / name)
    configure_network(network)


def get_kernel_setting_file(layout: Layout, name: str) -> Path:
    """Return the file that stands in for a kernel setting below /proc/sys."""
    return layout.configuration / f"kernel-{name.replace('/', '-')}"


def list_program_folders(layout: Layout) -> set[Path]:
    """Return the cache folders in which the linked programs are."""
    return {link.resolve().parent for link in layout.programs.iterdir()}


def hide_host_folders(layout: Layout, *, needed: Iterable[Path]) -> None:
    """Replace /var/lib, /var/log and /run by the node's own, except for the `needed` paths."""
    opened = {path: os.open(path, os.O_PATH) for path in sorted(needed) if path.exists()}
    sources = {
        target: os.open(layout.get_node_folder(name), os.O_PATH)
        for name, target in NODE_FOLDERS.items()
    }
    for target, descriptor in sources.items():
        bind_descriptor(descriptor, target)
    mount("tmpfs", NODE_RUN, filesystem="tmpfs", data="mode=755")
    for path, descriptor in opened.items():
        if path.exists():
            os.close(descriptor)
        else:
            path.mkdir(parents=True)
            bind_descriptor(descriptor, path)


def bind_descriptor(descriptor: int, target: Path) -> None:
    """Bind-mount an open folder, whose path may be hidden by an earlier mount."""
    bind_path(Path(f"/proc/self/fd/{descriptor}"), target)
    os.close(descriptor)


def bind_path(source: Path, target: Path) -> None:
    """Bind-mount a file or folder, with the mounts below it."""
    mount(str(source), target, flags=_BIND | _RECURSIVE)


def mount(
    source: str | None,
    target: Path,
    *,
    filesystem: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """Mount a file system by the system call, without the program of that name.

    That program would resolve a descriptor's path to the original path, which may be hidden.
    """
    arguments = [
        None if text is None else os.fsencode(text)
        for text in (source, str(target), filesystem, data)
    ]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3]):
        reason = os.strerror(ctypes.get_errno())
        raise ClusterError(
            f"Mounting {source or 'with new flags'} on {target} failed: {reason}. "
            "Root with CAP_SYS_ADMIN is needed."
        )


def configure_network(network: Network) -> None:
    """Configure the node's end of the link, the default route, forwarding and packet rules."""
    wait_for_link()
    commands.run_command(["ip", "link", "set", "lo", "up"])
    commands.run_command(
        ["ip", "address", "add", f"{network.node}/{network.link_block.prefixlen}", "dev", NODE_LINK]
    )
    commands.run_command(["ip", "link", "set", NODE_LINK, "up"])
    commands.run_command(["ip", "route", "add", "default", "via", str(network.host)])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    for rule in make_packet_rules(network):
        commands.run_command(["iptables", "--table", "mangle", "--append", "POSTROUTING", *rule])


def make_packet_rules(network: Network) -> list[list[str]]:
    """Make iptables rules that queue new connections of pods for kube-network-policies.

    Connections from node and machine are not filtered. In POSTROUTING a Service's address is
    already replaced by its pod's, and the sender's address is still its own.
    """
    queue = ["--jump", "NFQUEUE", "--queue-num", str(PACKET_QUEUE)]
    return [
        ["--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "--jump", "RETURN"],
        ["--match", "addrtype", "--src-type", "LOCAL", "--jump", "RETURN"],
        ["--source", str(network.host), "--jump", "RETURN"],
        ["--source", str(network.pods), *queue],
        ["--destination", str(network.pods), *queue],
    ]


def wait_for_link() -> None:
    """Wait until `up` has attached the link to the machine."""
    give_up = time.monotonic() + LINK_TIMEOUT_S
    while NODE_LINK not in {name for _, name in socket.if_nameindex()}:
        if time.monotonic() > give_up:
            raise ClusterError(
                f"No link to the machine appeared within {LINK_TIMEOUT_S:.0f} s: `bare-cluster up` "
                "was ended. Run it again."
            )
        time.sleep(0.01)
