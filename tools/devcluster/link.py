"""The machine's end of the link to the node, and the routes over it: all that the machine's network gets."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tools.devcluster import commands
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import NODE_LINK, Layout, Network
from tools.devcluster.processes import ProcessIdentity
from tools.devcluster.waiting import wait_until

INTERFACE_ROOT = Path("/sys/class/net")
REMOVAL_TIMEOUT_S = 15.0
#: The kernel keeps this much of an interface's alias, in which the cluster's folder stands.
MAX_ALIAS_LENGTH = 250


def attach_link(layout: Layout, network: Network, node: ProcessIdentity) -> None:
    """The machine's end of the link, with routes to Services and pods behind it."""
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
    """Takes the link away if it is this cluster's; its addresses and routes go with it."""
    folder = INTERFACE_ROOT / network.link
    with contextlib.suppress(OSError):
        if folder.joinpath("ifalias").read_text(encoding="utf-8").strip() in {
            "",
            _make_alias(layout),
        }:
            # The kernel takes it away by itself soon after the node has ended, so it may be gone by now.
            with contextlib.suppress(ClusterError):
                commands.run_command(["ip", "link", "delete", network.link])
            wait_until(lambda: not folder.exists(), REMOVAL_TIMEOUT_S)


def check_block_available(layout: Layout, network: Network) -> None:
    """Refuses a block that this machine or another cluster uses already."""
    check_routes(
        network, json.loads(commands.run_command(["ip", "-json", "route", "show", "table", "all"]))
    )
    owner = _read_link_owner(network)
    if owner and owner != _make_alias(layout):
        raise ClusterError(
            f"{network.block} belongs to the cluster in {owner}. Bring that down, or give another block with --block."
        )


def check_routes(network: Network, routes: Iterable[Mapping[str, Any]]) -> None:
    for route in routes:
        block = _parse_destination(route["dst"])
        if block.prefixlen and block.overlaps(network.block) and route.get("dev") != network.link:
            raise ClusterError(
                f"{network.block} is in use here: a route to {block} on {route.get('dev')}. "
                "Give another block: `bare-cluster up --block 10.201.0.0/16`."
            )


def _parse_destination(destination: str) -> IPv4Network:
    """Of a route; `default` and destinations of other families overlap nothing of interest."""
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
