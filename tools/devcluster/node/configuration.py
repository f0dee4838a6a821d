"""Make the content of the configuration files of the cluster's programs, without I/O."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.devcluster.layout import CLUSTER_DOMAIN, NODE_NAME, Layout, Network

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_FOLDER = "/usr/lib/cni"
PAUSE_IMAGE = "storefleet.dev/pause:1"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
#: Kernel settings that the kubelet requires. The node sees files with these values in place of the
#: machine's settings, which stay unchanged: nothing that pods do here depends on them.
KUBELET_KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def make_kubeconfig(
    network: Network, *, user: str, read_certificate: Callable[[str], bytes]
) -> dict[str, Any]:
    """Make a user's kubeconfig; `read_certificate` returns the content of a certificate file."""

    def data(name: str) -> str:
        return base64.b64encode(read_certificate(name)).decode()

    credentials = {
        "client-certificate-data": data(f"{user}.crt"),
        "client-key-data": data(f"{user}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "storefleet",
                "cluster": {
                    "server": network.api_url,
                    "certificate-authority-data": data("ca.crt"),
                },
            }
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "storefleet", "context": {"cluster": "storefleet", "user": user}}],
        "current-context": "storefleet",
    }


def make_kubelet_configuration(layout: Layout, network: Network) -> dict[str, Any]:
    """Make the kubelet's configuration."""
    certificates = layout.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(network.node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{certificates}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{certificates}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{certificates}/kubelet-server.key",
        "readOnlyPort": 0,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [str(network.dns_service)],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "maxPods": 250,
        "serializeImagePulls": False,
        # Images cannot be pulled again, so none is garbage-collected; a full disk shows in errors.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "eventRecordQPS": 50,
        "eventBurst": 100,
        "syncFrequency": "10s",
    }


def make_kube_proxy_configuration(layout: Layout, network: Network) -> dict[str, Any]:
    """Make kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{layout.configuration}/kube-proxy.kubeconfig"},
        # With 2,000 Services a change takes effect after 0.13 s; in nftables mode, with Debian's
        # nft, which first lists the whole ruleset, after 0.31 s.
        "mode": "iptables",
        "iptables": {"minSyncPeriod": "100ms"},
        "clusterCIDR": str(network.pods),
        "detectLocalMode": "ClusterCIDR",
        "hostnameOverride": NODE_NAME,
        "nodePortAddresses": [f"{network.node}/32"],
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # The size and timeouts of the connection table belong to the machine.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def make_kube_scheduler_configuration(layout: Layout) -> dict[str, Any]:
    """Make the scheduler's configuration."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {
            "kubeconfig": f"{layout.configuration}/kube-scheduler.kubeconfig",
            "qps": 200,
            "burst": 400,
        },
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
    }


def make_pod_network(network: Network) -> dict[str, Any]:
    """Give each pod a link and a route, without a bridge: all packets pass kube-proxy's rules."""
    addresses = {
        "type": "host-local",
        # Under /run, because no pod keeps its address across a restart.
        "dataDir": "/run/cni/addresses",
        "ranges": [[{"subnet": str(network.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def make_containerd_configuration(layout: Layout, *, runc: Path) -> str:
    """Make containerd.toml; paths are quoted as JSON strings, which are valid TOML strings."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
# Where root may not lower the OOM score, pods would not start otherwise.
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{CNI_FOLDER}"]
conf_dir = {json.dumps(str(layout.configuration / "cni"))}

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = {json.dumps(str(runc))}
SystemdCgroup = false
"""


def make_corefile(layout: Layout, network: Network) -> str:
    """Serve the names of the cluster; every other name is answered with NXDOMAIN."""
    return f"""{CLUSTER_DOMAIN} in-addr.arpa {{
    bind {network.node}
    errors
    kubernetes {{
        kubeconfig {json.dumps(str(layout.configuration / "coredns.kubeconfig"))}
        ttl 5
    }}
}}
. {{
    bind {network.node}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def make_hosts(network: Network) -> str:
    """Make the node's /etc/hosts."""
    return f"127.0.0.1 localhost\n{network.node} {NODE_NAME}\n"
