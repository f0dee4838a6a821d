"""Start a cluster, from any state: nothing, the data of an earlier run, or a running cluster.

Start-up converges: each step reads the actual state, so the same command continues after a kill.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.devcluster import files
from tools.devcluster import settings as cluster_settings
from tools.devcluster import status as cluster_status
from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes import images
from tools.devcluster.kubernetes.api import ApiClient, ApiError
from tools.devcluster.kubernetes.manifests import make_api_path, make_manifests
from tools.devcluster.layout import Layout, Network
from tools.devcluster.node import (
    certificates,
    cgroups,
    configuration,
    control,
    dns,
    link,
    node,
    processes,
)
from tools.devcluster.node.process_table import (
    FIRST_PROCESSES,
    SECOND_PROCESSES,
    ProcessSpec,
    make_processes,
    read_processes,
)
from tools.devcluster.programs import builds, debian
from tools.devcluster.waiting import wait_until

READY_TIMEOUT_S = 120.0
KUBECONFIG_USERS = (
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
    "network-policies",
)


@dataclass(frozen=True)
class UpOptions:
    """The options of `bare-cluster up`; None keeps a setting."""

    cache: Path
    block: str | None = None
    audit_log: str | None = None


def start_cluster(layout: Layout, options: UpOptions) -> str:
    """Start the cluster and wait until it is ready; return a message for the terminal."""
    began = time.monotonic()
    layout.create_folders()
    with files.lock_folder(layout.state, purpose="start the cluster"):
        # A supervisor that does not listen is left from an `up` that was killed before the link.
        running = processes.find_node_process(layout.state) is not None and control.is_listening(
            layout.state
        )
        debian.install_packages(debian.RUNTIME_PACKAGES)
        settings = _apply_options(
            layout, options, exists=(layout.certificates / "ca.crt").is_file()
        )
        built = builds.build_missing_modules(options.cache)
        changed = _write_files(layout, settings, cache=options.cache, is_new=not running)
        if not running:
            _start_node(layout, settings.network)
        elif not changed and not built and cluster_status.read_status(layout).is_healthy:
            return f"already running: KUBECONFIG={layout.kubeconfig}"
        # A kubelet that keeps running does not report its node ready again for minutes.
        ready_since = 0.0 if running and _is_kubelet_unchanged(layout, changed) else time.time()
        pause = builds.locate_programs(options.cache)["pause"]
        _start_processes(
            layout, settings.network, changed=changed, pause=pause, ready_since=ready_since
        )
    return f"ready in {time.monotonic() - began:.1f} s: KUBECONFIG={layout.kubeconfig}"


def _is_kubelet_unchanged(layout: Layout, changed: list[str]) -> bool:
    """Return whether the kubelet runs already, and keeps running."""
    runs = {
        process.name
        for process in control.send_command(layout.state, "list")
        if process.state == "running"
    }
    return "kubelet" in runs and "kubelet" not in changed


def _apply_options(
    layout: Layout, options: UpOptions, *, exists: bool
) -> cluster_settings.ClusterSettings:
    kept = cluster_settings.read_settings(layout)
    cluster_settings.write_settings(layout, kept)  # marks the folder as a cluster's
    settings = cluster_settings.merge_options(
        kept, block=options.block, audit_log=options.audit_log, exists=exists
    )
    link.check_block_available(layout, settings.network)
    cluster_settings.write_settings(layout, settings)
    return settings


def _start_node(layout: Layout, network: Network) -> None:
    """Start the supervisor after removing processes, link and cgroups of a killed run."""
    processes.end_node(layout)
    cgroups.remove_cgroups(layout)
    cgroups.create_cgroups(layout)
    link.attach_link(layout, network, processes.start_node(layout))
    log = layout.logs / "supervisor.log"
    if not wait_until(lambda: _is_supervisor_listening(layout), READY_TIMEOUT_S):
        raise ClusterError(
            f"The node's supervisor does not answer: {files.read_last_line(log)} See {log}."
        )


def _is_supervisor_listening(layout: Layout) -> bool:
    """Return whether the supervisor listens; raise ClusterError when it has ended."""
    if processes.find_node_process(layout.state) is None:
        log = layout.logs / "supervisor.log"
        raise ClusterError(f"The node's supervisor ended: {files.read_last_line(log)} See {log}.")
    return control.is_listening(layout.state)


def _write_files(
    layout: Layout, settings: cluster_settings.ClusterSettings, *, cache: Path, is_new: bool
) -> list[str]:
    """Write certificates, configuration and the process table.

    Returns the names of running processes whose arguments changed.
    """
    network, programs = settings.network, builds.locate_programs(cache)
    if is_new:
        certificates.create_certificates(layout.certificates, network)
    _link_programs(layout, programs)
    _write_configuration(layout, network, runc=programs["runc"])
    before = {} if is_new else read_processes(layout)
    wanted = make_processes(layout, network, programs=programs, audit_log=settings.audit_log)
    files.write_json(layout.processes, [process.as_json() for process in wanted])
    return [process.name for process in wanted if _is_changed(before.get(process.name), process)]


def _is_changed(before: ProcessSpec | None, now: ProcessSpec) -> bool:
    return before is not None and before != now


def _link_programs(layout: Layout, programs: dict[str, Path]) -> None:
    """Link the programs into the state folder's bin, for use on PATH."""
    for name, program in programs.items():
        link = layout.programs / name
        if not link.is_symlink() or link.readlink() != program:
            temporary = link.with_name(f".{name}")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(program)
            temporary.replace(link)


def _write_configuration(layout: Layout, network: Network, *, runc: Path) -> None:
    folder = layout.configuration

    def certificate(name: str) -> bytes:
        return (layout.certificates / name).read_bytes()

    (folder / "cni").mkdir(exist_ok=True)
    files.write_json(folder / "cni" / "10-pods.conflist", configuration.make_pod_network(network))
    files.write_json(
        folder / "kubelet.json", configuration.make_kubelet_configuration(layout, network)
    )
    files.write_json(
        folder / "kube-proxy.json", configuration.make_kube_proxy_configuration(layout, network)
    )
    files.write_json(
        folder / "kube-scheduler.json", configuration.make_kube_scheduler_configuration(layout)
    )
    files.write_json(folder / "audit-policy.json", configuration.AUDIT_POLICY)
    files.write_text(
        folder / "containerd.toml", configuration.make_containerd_configuration(layout, runc=runc)
    )
    files.write_text(folder / "Corefile", configuration.make_corefile(layout, network))
    files.write_text(folder / "hosts", configuration.make_hosts(network), mode=0o644)
    files.write_text(folder / "resolv.conf", f"nameserver {network.node}\n", mode=0o644)
    for name, value in configuration.KUBELET_KERNEL_SETTINGS.items():
        files.write_text(node.get_kernel_setting_file(layout, name), f"{value}\n")
    for user in KUBECONFIG_USERS:
        kubeconfig = configuration.make_kubeconfig(network, user=user, read_certificate=certificate)
        files.write_json(folder / f"{user}.kubeconfig", kubeconfig)
    files.write_json(
        layout.kubeconfig,
        configuration.make_kubeconfig(network, user="admin", read_certificate=certificate),
    )


def _start_processes(
    layout: Layout, network: Network, *, changed: list[str], pause: Path, ready_since: float
) -> None:
    """Start the processes in order and wait until each part of the cluster works."""
    stop_processes(layout, changed)
    control.send_command(layout.state, "start", FIRST_PROCESSES)
    api = ApiClient(network, certificates=layout.certificates, user="admin")
    _wait_for(layout, "the API server answers", lambda: _is_api_ready(api))
    control.send_command(layout.state, "start", SECOND_PROCESSES)
    _wait_for(layout, "the first objects exist", lambda: _try_to_apply_manifests(api, network))
    control.send_command(layout.state, "start", tuple(read_processes(layout)))
    _wait_for(
        layout, "containerd imports images", lambda: _try_to_import_pause_image(layout, pause)
    )
    _wait_for(layout, "the name server answers", lambda: dns.is_api_name_resolved(network))
    _wait_for(layout, "the default service account exists", lambda: _has_default_account(api))
    _wait_for(
        layout, "the node is ready", lambda: cluster_status.is_node_ready(api, since=ready_since)
    )


def stop_processes(layout: Layout, names: list[str]) -> None:
    """Stop processes and wait until they have ended."""
    if not names:
        return
    control.send_command(layout.state, "stop", tuple(names))

    def have_ended() -> bool:
        states = {
            process.name: process.state for process in control.send_command(layout.state, "list")
        }
        return all(states.get(name, "stopped") == "stopped" for name in names)

    if not wait_until(have_ended, READY_TIMEOUT_S):
        raise ClusterError(f"{', '.join(names)} did not end. See the logs in {layout.logs}.")


def _wait_for(layout: Layout, condition: str, done: Callable[[], bool]) -> None:
    if not wait_until(done, READY_TIMEOUT_S, interval_s=0.1):
        problems = "\n".join(cluster_status.read_status(layout).problems)
        raise ClusterError(
            f"Waited {READY_TIMEOUT_S:.0f} s until {condition}, without success.\n{problems}\n"
            f"Logs: {layout.logs}"
        )


def _is_api_ready(api: ApiClient) -> bool:
    try:
        return api.get_text("/readyz", timeout_s=3) == "ok"
    except ApiError:
        return False


def _try_to_apply_manifests(api: ApiClient, network: Network) -> bool:
    """Apply the first objects; return False while the API server is not ready for them.

    It creates the namespaces and roles that they need shortly after its start.
    """
    try:
        for manifest in make_manifests(network):
            api.apply(make_api_path(manifest), manifest)
    except ApiError as error:
        if error.status in {0, 403, 404, 409, 429, 500, 503}:
            return False
        raise ClusterError(
            f"The API server rejects an object that every cluster starts with: {error}"
        ) from error
    return True


def _has_default_account(api: ApiClient) -> bool:
    try:
        api.get("/api/v1/namespaces/default/serviceaccounts/default")
    except ApiError:
        return False
    return True


def _try_to_import_pause_image(layout: Layout, pause: Path) -> bool:
    try:
        images.import_pause_image(layout, pause)
    except ClusterError:
        return False
    return True
