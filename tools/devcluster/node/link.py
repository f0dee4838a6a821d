"""Create and remove the network link between machine and node, with its routes.

Nothing else of the machine's network is changed.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tools.devcluster import commands
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import NODE_LINK, Layout, Network
from tools.devcluster.node.processes import ProcessIdentity
from tools.devcluster.waiting import wait_until

INTERFACE_ROOT = Path("/sys/class/net")
REMOVAL_TIMEOUT_S = 15.0
#: Limit of an interface's alias in the kernel; the alias contains the cluster's folder.
MAX_ALIAS_LENGTH = 250


def attach_link(layout: Layout, network: Network, node: ProcessIdentity) -> None:
    """Create the link to the node's network namespace, and routes to Services and pods."""
    detach_link(layout, network)
    link = network.link
    peer = ["peer", "name", NODE_LINK, "netns", str(node.pid)]
    commands.run_command(["ip", "link", "add", link, "type", "veth", *peer])
    commands.run_command(["ip", "link", "set", link, "alias", _make_alias(layout)])
    commands.run_command(
        ["ip", "address", "add", f"{network.host}/{network.link_block.prefixlen}", "dev", link]
    )
    commands.run_command(["ip", "link", "set", link, "up"])
    for block in (network.services, network.pods):
        commands.run_command(
            ["ip", "route", "add", str(block), "via", str(network.node), "dev", link]
        )


def detach_link(layout: Layout, network: Network) -> None:
    """Remove the link, with its addresses and routes, if it belongs to this cluster."""
    folder = INTERFACE_ROOT / network.link
    with contextlib.suppress(OSError):
        if folder.joinpath("ifalias").read_text(encoding="utf-8").strip() in {
            "",
            _make_alias(layout),
        }:
            # The kernel removes the link soon after the node ended, possibly before this command.
            with contextlib.suppress(ClusterError):
                commands.run_command(["ip", "link", "delete", network.link])
            wait_until(lambda: not folder.exists(), REMOVAL_TIMEOUT_S)


def check_block_available(layout: Layout, network: Network) -> None:
    """Raise ClusterError when this machine or another cluster uses the block."""
    check_routes(
        network, json.loads(commands.run_command(["ip", "-json", "route", "show", "table", "all"]))
    )
    owner = _read_link_owner(network)
    if owner and owner != _make_alias(layout):
        raise ClusterError(
            f"{network.block} belongs to the cluster in {owner}. Stop that cluster, or choose "
            "another block with --block."
        )


def check_routes(network: Network, routes: Iterable[Mapping[str, Any]]) -> None:
    """Raise ClusterError when a route of another interface overlaps the block."""
    for route in routes:
        block = _parse_destination(route["dst"])
        if block.prefixlen and block.overlaps(network.block) and route.get("dev") != network.link:
            raise ClusterError(
                f"{network.block} is in use: {route.get('dev')} has a route to {block}. "
                "Choose another block: `bare-cluster up --block 10.201.0.0/16`."
            )


def _parse_destination(destination: str) -> IPv4Network:
    """Parse a route's destination; `default` and IPv6 become 0.0.0.0/0, which is ignored."""
    try:
        return IPv4Network(destination)
    except ValueError:
        return IPv4Network("0.0.0.0/0")


def _read_link_owner(network: Network) -> str:
    try:
        return (INTERFACE_ROOT / network.link / "ifalias").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _make_alias(layout: Layout) -> str:
    return str(layout.state)[-MAX_ALIAS_LENGTH:]
