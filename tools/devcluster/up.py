"""Brings a cluster up, from whatever is there: nothing, the data of an earlier life, or a cluster that runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.devcluster import (
    builds,
    certificates,
    cgroups,
    configuration,
    control,
    debian,
    dns,
    files,
    images,
    link,
    node,
    processes,
)
from tools.devcluster import settings as chosen
from tools.devcluster import status as health
from tools.devcluster.api import Api, ApiError
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout, Network
from tools.devcluster.manifests import make_manifests, path_of
from tools.devcluster.programs import FIRST, NEXT, Process, make_processes, read_processes
from tools.devcluster.waiting import wait_until

READY_TIMEOUT = 120.0
KUBECONFIGS = (
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
    "network-policies",
)


@dataclass(frozen=True)
class Options:
    """What the command line of `up` says; None leaves a setting as it is."""

    cache: Path
    block: str | None = None
    audit_log: str | None = None


def up(layout: Layout, options: Options) -> str:
    """Converges; returns what to tell."""
    began = time.monotonic()
    layout.make_folders()
    with files.locked(layout.state, doing="bring the cluster up"):
        # One that does not listen was started by an `up` that was killed before it had made the link.
        running = processes.first_process(layout.state) is not None and control.listens(
            layout.state
        )
        debian.install(debian.RUN)
        settings = _settle(layout, options, exists=(layout.certificates / "ca.crt").is_file())
        built = builds.build(options.cache)
        changed = _write_all(layout, settings, cache=options.cache, anew=not running)
        if not running:
            _start(layout, settings.network)
        elif not changed and not built and health.look(layout).healthy:
            return f"already up: KUBECONFIG={layout.kubeconfig}"
        heard_since = 0.0 if running and _kubelet_goes_on(layout, changed) else time.time()
        pause = builds.programs(options.cache)["pause"]
        _converge(layout, settings.network, changed=changed, pause=pause, heard_since=heard_since)
    return f"up in {time.monotonic() - began:.1f} s: KUBECONFIG={layout.kubeconfig}"


def _kubelet_goes_on(layout: Layout, changed: list[str]) -> bool:
    """Then it has said long ago that its node is ready, and says so again only after minutes."""
    runs = {
        process.name for process in control.ask(layout.state, "list") if process.state == "running"
    }
    return "kubelet" in runs and "kubelet" not in changed


def _settle(layout: Layout, options: Options, *, exists: bool) -> chosen.Settings:
    kept = chosen.read(layout)
    chosen.write(layout, kept)  # tells, from now on, that the folder is a cluster's
    settings = chosen.choose(kept, block=options.block, audit_log=options.audit_log, exists=exists)
    link.check_addresses(layout, settings.network)
    chosen.write(layout, settings)
    return settings


def _start(layout: Layout, network: Network) -> None:
    """Fresh namespaces, after what a killed life may have left of processes, link and cgroups."""
    processes.end_node(layout)
    cgroups.remove_cgroups(layout)
    cgroups.make_cgroups(layout)
    link.attach(layout, network, processes.start_node(layout))
    log = layout.logs / "keeper.log"
    if not wait_until(lambda: _answers(layout), READY_TIMEOUT):
        raise ClusterError(
            f"The node's first process does not answer: {files.last_line(log)} See {log}."
        )


def _answers(layout: Layout) -> bool:
    """Whether the first process listens; when it has ended, waiting is over."""
    if processes.first_process(layout.state) is None:
        log = layout.logs / "keeper.log"
        raise ClusterError(f"The node's first process ended: {files.last_line(log)} See {log}.")
    return control.listens(layout.state)


def _write_all(layout: Layout, settings: chosen.Settings, *, cache: Path, anew: bool) -> list[str]:
    """Certificates, configuration and the table of processes; returns the processes that run with other arguments."""
    network, programs = settings.network, builds.programs(cache)
    if anew:
        certificates.make_certificates(layout.certificates, network)
    _link_programs(layout, programs)
    _write_configuration(layout, network, runc=programs["runc"])
    before = {} if anew else read_processes(layout)
    wanted = make_processes(layout, network, programs=programs, audit_log=settings.audit_log)
    files.write_json(layout.processes, [process.as_json() for process in wanted])
    return [process.name for process in wanted if _differs(before.get(process.name), process)]


def _differs(before: Process | None, now: Process) -> bool:
    return before is not None and before != now


def _link_programs(layout: Layout, programs: dict[str, Path]) -> None:
    """The programs under their names, for people and for PATH."""
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
    files.write_json(folder / "kubelet.json", configuration.make_kubelet(layout, network))
    files.write_json(folder / "kube-proxy.json", configuration.make_kube_proxy(layout, network))
    files.write_json(folder / "kube-scheduler.json", configuration.make_kube_scheduler(layout))
    files.write_json(folder / "audit-policy.json", configuration.AUDIT_POLICY)
    files.write(folder / "containerd.toml", configuration.make_containerd(layout, runc=runc))
    files.write(folder / "Corefile", configuration.make_corefile(layout, network))
    files.write(folder / "hosts", configuration.make_hosts(network), mode=0o644)
    files.write(folder / "resolv.conf", f"nameserver {network.node}\n", mode=0o644)
    for name, value in configuration.KUBELET_KERNEL_SETTINGS.items():
        files.write(node.kernel_setting_file(layout, name), f"{value}\n")
    for user in KUBECONFIGS:
        kubeconfig = configuration.make_kubeconfig(network, user=user, read=certificate)
        files.write_json(folder / f"{user}.kubeconfig", kubeconfig)
    files.write_json(
        layout.kubeconfig, configuration.make_kubeconfig(network, user="admin", read=certificate)
    )


def _converge(
    layout: Layout, network: Network, *, changed: list[str], pause: Path, heard_since: float
) -> None:
    """Starts what does not run, and waits until everything answers."""
    stop(layout, changed)
    control.ask(layout.state, "start", FIRST)
    api = Api(network, certificates=layout.certificates, user="admin")
    _await(layout, "the API server answers", lambda: _is_ready(api))
    control.ask(layout.state, "start", NEXT)
    _await(layout, "the first objects are there", lambda: _applied(api, network))
    control.ask(layout.state, "start", tuple(read_processes(layout)))
    _await(layout, "containerd takes images", lambda: _has_pause(layout, pause))
    _await(layout, "names are answered", lambda: dns.answers(network))
    _await(layout, "pods have an account", lambda: _has_account(api))
    _await(layout, "the node is ready", lambda: health.is_fresh(api, since=heard_since))


def stop(layout: Layout, names: list[str]) -> None:
    """Stops processes, and returns when they have ended."""
    if not names:
        return
    control.ask(layout.state, "stop", tuple(names))

    def ended() -> bool:
        seen = {process.name: process.state for process in control.ask(layout.state, "list")}
        return all(seen.get(name, "stopped") == "stopped" for name in names)

    if not wait_until(ended, READY_TIMEOUT):
        raise ClusterError(f"{', '.join(names)} did not end. See the logs in {layout.logs}.")


def _await(layout: Layout, what: str, done: Callable[[], bool]) -> None:
    if not wait_until(done, READY_TIMEOUT, pause=0.1):
        problems = "\n".join(health.look(layout).problems)
        raise ClusterError(
            f"Waited {READY_TIMEOUT:.0f} s in vain until {what}.\n{problems}\nLogs: {layout.logs}"
        )


def _is_ready(api: Api) -> bool:
    try:
        return api.text("/readyz", timeout=3) == "ok"
    except ApiError:
        return False


def _applied(api: Api, network: Network) -> bool:
    """The API server makes the namespaces and roles that the first objects need a moment after its start."""
    try:
        for manifest in make_manifests(network):
            api.apply(path_of(manifest), manifest)
    except ApiError as error:
        if error.status in {0, 403, 404, 409, 429, 500, 503}:
            return False
        raise ClusterError(
            f"The API server refuses what every cluster begins with: {error}"
        ) from error
    return True


def _has_account(api: Api) -> bool:
    try:
        api.get("/api/v1/namespaces/default/serviceaccounts/default")
    except ApiError:
        return False
    return True


def _has_pause(layout: Layout, pause: Path) -> bool:
    try:
        images.load_pause(layout, pause)
    except ClusterError:
        return False
    return True
