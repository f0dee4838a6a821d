"""The inside of the node: its own mounts, network and name, made by its first process before anything else runs.

All of it belongs to namespaces that end with that process, however it ends. So nothing here is ever undone.
"""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tools.devcluster import commands
from tools.devcluster.configuration import KUBELET_KERNEL_SETTINGS
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

LINK_TIMEOUT_S = 20.0
_BIND, _RECURSIVE, _SHARED = 0x1000, 0x4000, 1 << 20


def prepare_node(layout: Layout, network: Network) -> None:
    """Turns fresh namespaces into a node; the machine's side of the link comes from outside."""
    socket.sethostname(NODE_NAME)
    # Pods may ask for mounts that they see appear, which needs sharing, among ourselves.
    mount(None, Path("/"), flags=_RECURSIVE | _SHARED)
    hide_host_folders(
        layout, needed={layout.state, PROJECT, Path(sys.prefix), *list_program_folders(layout)}
    )
    bind_path(layout.configuration / "hosts", Path("/etc/hosts"))
    # The machine's own name server is out of reach, and waiting for it would hold up every pull of a missing image.
    if (names := Path("/etc/resolv.conf")).exists():
        bind_path(layout.configuration / "resolv.conf", names)
    for name in KUBELET_KERNEL_SETTINGS:
        bind_path(get_kernel_setting_file(layout, name), Path("/proc/sys") / name)
    configure_network(network)


def get_kernel_setting_file(layout: Layout, name: str) -> Path:
    return layout.configuration / f"kernel-{name.replace('/', '-')}"


def list_program_folders(layout: Layout) -> set[Path]:
    return {link.resolve().parent for link in layout.programs.iterdir()}


def hide_host_folders(layout: Layout, *, needed: Iterable[Path]) -> None:
    """Hides the machine's /var/lib, /var/log and /run behind the node's own, but for what is needed from there."""
    opened = {path: os.open(path, os.O_PATH) for path in sorted(needed) if path.exists()}
    sources = {
        shown: os.open(layout.get_node_folder(name), os.O_PATH)
        for name, shown in NODE_FOLDERS.items()
    }
    for shown, descriptor in sources.items():
        bind_descriptor(descriptor, shown)
    mount("tmpfs", NODE_RUN, filesystem="tmpfs", data="mode=755")
    for path, descriptor in opened.items():
        if path.exists():
            os.close(descriptor)
        else:
            path.mkdir(parents=True)
            bind_descriptor(descriptor, path)


def bind_descriptor(descriptor: int, target: Path) -> None:
    """By descriptor, as the path of it may be hidden by now."""
    bind_path(Path(f"/proc/self/fd/{descriptor}"), target)
    os.close(descriptor)


def bind_path(source: Path, target: Path) -> None:
    mount(str(source), target, flags=_BIND | _RECURSIVE)


def mount(
    source: str | None,
    target: Path,
    *,
    filesystem: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """The system call; the command of that name would resolve a descriptor's path to the one that is hidden by now."""
    arguments = [
        None if text is None else os.fsencode(text)
        for text in (source, str(target), filesystem, data)
    ]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3]):
        reason = os.strerror(ctypes.get_errno())
        raise ClusterError(
            f"mounting {source or 'anew'} on {target} failed: {reason}. Root with CAP_SYS_ADMIN is needed."
        )


def configure_network(network: Network) -> None:
    """The node's end of the link, the way out, and forwarding between pods."""
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
    """New connections of pods wait for the verdict of NetworkPolicies; those from node and machine are free.

    Here a Service's address is replaced already by its pod's, and the sender's is still its own.
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
    give_up = time.monotonic() + LINK_TIMEOUT_S
    while NODE_LINK not in {name for _, name in socket.if_nameindex()}:
        if time.monotonic() > give_up:
            raise ClusterError(
                "no link to the machine appeared: `bare-cluster up` was ended. Run it again."
            )
        time.sleep(0.01)
