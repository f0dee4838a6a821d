"""The command line of tools/bare-cluster."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tools.devcluster import settings, status
from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes import images
from tools.devcluster.layout import DEFAULT_BLOCK, DEFAULT_STATE, Layout
from tools.devcluster.node import control, processes
from tools.devcluster.programs import builds

EXIT_FAILED, EXIT_NOT_UP = 1, 3


def main() -> int:
    """Run a command; return its exit status."""
    options = _create_parser().parse_args()
    try:
        _check_machine()
        return int(options.run(Layout(Path(options.state).resolve()), options))
    except ClusterError as error:
        print(f"bare-cluster: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("bare-cluster: interrupted; the same command continues from here", file=sys.stderr)
        return 130


def _check_machine() -> None:
    if sys.platform != "linux":
        raise ClusterError(
            "The bare cluster needs Linux, because its processes run in namespaces. "
            "Use kind on other systems."
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "The bare cluster needs root to create namespaces, mounts and network links. "
            "Run it with sudo."
        )


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bare-cluster",
        description="A single-node Kubernetes without Docker that leaves nothing on the machine.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        metavar="DIR",
        default=DEFAULT_STATE,
        help=f"the cluster's folder (default: {DEFAULT_STATE})",
    )
    cache = argparse.ArgumentParser(add_help=False)
    cache.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        default=builds.get_default_cache(),
        help="folder of built programs",
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    up = verbs.add_parser(
        "up", parents=[common, cache], help="start the cluster, or continue an interrupted start"
    )
    up.add_argument(
        "--block",
        metavar="A.B.0.0/16",
        help=f"addresses of node, Services and pods ({DEFAULT_BLOCK})",
    )
    up.add_argument(
        "--audit-log",
        metavar="PATH",
        help="log the requests to the API server; '' disables the log",
    )
    up.set_defaults(run=_run_up)
    for name, run, text in (
        ("down", _run_down, "stop all processes; data stays"),
        ("reset", _run_reset, "stop all processes and remove the cluster's folder"),
        ("kubeconfig", _run_kubeconfig, "print the path of the administrator's kubeconfig"),
        ("environment", _run_environment, "print shell commands that set KUBECONFIG and PATH"),
    ):
        verbs.add_parser(name, parents=[common], help=text).set_defaults(run=run)
    shown = verbs.add_parser(
        "status", parents=[common], help="show each process and what is wrong, with the next step"
    )
    shown.add_argument("-o", "--output", choices=("text", "json"), default="text")
    shown.set_defaults(run=_run_status)
    verbs.add_parser("build", parents=[common, cache], help="build the programs only").set_defaults(
        run=_run_build
    )
    ingress = verbs.add_parser(
        "ingress", parents=[common, cache], help="install Traefik as ingress controller"
    )
    ingress.set_defaults(run=_run_ingress)
    load = verbs.add_parser("load-image", parents=[common], help="import images from OCI archives")
    load.add_argument("archives", metavar="FILE", nargs="+", type=Path)
    load.set_defaults(run=_run_load_image)
    for name, text in (
        ("stop", "stop single processes until `start`"),
        ("start", "start stopped processes"),
    ):
        verb = verbs.add_parser(name, parents=[common], help=text)
        verb.add_argument("names", metavar="PROCESS", nargs="+")
        verb.set_defaults(run=_run_stop if name == "stop" else _run_start)
    enter = verbs.add_parser("enter", parents=[common], help="run a command inside the node")
    enter.add_argument("command", metavar="WORD", nargs=argparse.REMAINDER)
    enter.set_defaults(run=_run_enter)
    for name, run in (("supervise", _run_supervise), ("volumes", _run_volumes)):  # run by `up` only
        verbs.add_parser(name, parents=[common]).set_defaults(run=run)
    return parser


def _run_up(layout: Layout, options: argparse.Namespace) -> int:
    from tools.devcluster.up import UpOptions, start_cluster

    wanted = UpOptions(
        cache=options.cache.resolve(), block=options.block, audit_log=options.audit_log
    )
    print(f"bare-cluster: {start_cluster(layout, wanted)}")
    return 0


def _run_down(layout: Layout, _options: argparse.Namespace) -> int:
    from tools.devcluster.down import stop_cluster

    print(f"bare-cluster: {stop_cluster(layout)}")
    return 0


def _run_reset(layout: Layout, _options: argparse.Namespace) -> int:
    from tools.devcluster.down import remove_cluster

    print(f"bare-cluster: {remove_cluster(layout)}")
    return 0


def _run_status(layout: Layout, options: argparse.Namespace) -> int:
    found = status.read_status(layout)
    if options.output == "json":
        print(json.dumps(found.as_json(), indent=2))
    else:
        print(status.format_status(found))
    if found.is_healthy:
        return 0
    return EXIT_FAILED if found.up else EXIT_NOT_UP


def _run_build(_layout: Layout, options: argparse.Namespace) -> int:
    built = builds.build_missing_modules(options.cache.resolve())
    text = f"built {', '.join(built)}" if built else "all programs are built already"
    print(f"bare-cluster: {text}")
    return 0


def _run_ingress(layout: Layout, options: argparse.Namespace) -> int:
    from tools.devcluster.kubernetes.ingress import install_ingress

    address = install_ingress(layout, options.cache.resolve())
    print(
        "bare-cluster: Traefik serves the class traefik and the Gateway traefik/traefik "
        f"at {address}"
    )
    return 0


def _run_load_image(layout: Layout, options: argparse.Namespace) -> int:
    for archive in options.archives:
        new = images.import_archive(layout, archive)
        print(f"bare-cluster: {archive}: {'imported' if new else 'present already'}")
    return 0


def _run_stop(layout: Layout, options: argparse.Namespace) -> int:
    from tools.devcluster.up import stop_processes

    stop_processes(layout, options.names)
    return 0


def _run_start(layout: Layout, options: argparse.Namespace) -> int:
    control.send_command(layout.state, "start", tuple(options.names))
    return 0


def _run_kubeconfig(layout: Layout, _options: argparse.Namespace) -> int:
    print(layout.kubeconfig)
    return 0


def _run_environment(layout: Layout, _options: argparse.Namespace) -> int:
    import shlex

    print(f"export KUBECONFIG={shlex.quote(str(layout.kubeconfig))}")
    print(f'export PATH={shlex.quote(str(layout.programs))}:"$PATH"')
    return 0


def _run_enter(layout: Layout, options: argparse.Namespace) -> int:
    node = processes.find_node_process(layout.state)
    if node is None:
        raise ClusterError("The cluster is not running. Run `bare-cluster up` first.")
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    namespaces = ["--mount", "--net", "--pid", "--uts", "--ipc"]
    command = ["nsenter", f"--target={node.pid}", *namespaces, "--", *(words or ["/bin/sh"])]
    return subprocess.run(command, check=False).returncode


def _run_supervise(layout: Layout, _options: argparse.Namespace) -> int:
    from tools.devcluster.node.supervisor import run_node

    run_node(layout, settings.read_settings(layout).network)
    return 0


def _run_volumes(layout: Layout, _options: argparse.Namespace) -> int:
    from tools.devcluster.kubernetes.api import ApiClient
    from tools.devcluster.node.volumes import run_provisioner

    api = ApiClient(
        settings.read_settings(layout).network, certificates=layout.certificates, user="volumes"
    )
    run_provisioner(layout, api)
    return 0
