#!/usr/bin/env bash
# A Kubernetes in Docker with Traefik, the images, and the platform in it; from wherever an earlier run stopped.
set -euo pipefail
# shellcheck source=scripts/setup/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/common.sh"
# shellcheck source=scripts/setup/pins.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/pins.sh"

usage() {
  cat <<TEXT
Usage: scripts/setup-kind.sh [options] [up | cluster | images | platform | delete]

  up         all of it (the default): cluster, images, platform
  cluster    kind $KIND_VERSION with ${KIND_NODE_IMAGE%%@*}, and Traefik
  images     build the images with Docker and load them into the cluster
  platform   put the platform into it, and write .storefleet/cluster.json
  delete     remove the cluster with everything in it

  --name NAME        of the cluster (storefleet)
  --domain DOMAIN    stores are at NAME.DOMAIN, the dashboard at storefleet.DOMAIN (127.0.0.1.nip.io; where the
                     resolver drops such answers, take localhost: browsers know it, curl and most systems do, too)
  --http-port PORT   of this machine (80)
  --https-port PORT  of this machine (443)
  --listen ADDRESS   of this machine (127.0.0.1; 0.0.0.0 shows the stores to the network)
  --dry-run          only print what would be done
  --help

Needs Docker. kind, kubectl and Helm 4 are downloaded into .storefleet/cluster/bin where they are missing or of
another version, checked by their SHA-256 sums.
TEXT
}

NAME=storefleet
DOMAIN=127.0.0.1.nip.io
HTTP_PORT=80
HTTPS_PORT=443
LISTEN=127.0.0.1
HTTP_NODE_PORT=32080
HTTPS_NODE_PORT=32443
VERB=up

OPTIONS=$STATE/kind.options # what was asked for last: the next run needs not be told again
CLAIM=$STATE/kind.begun     # this cluster is ours, and perhaps half made
RECORD=$STATE/kind.json     # it is complete
export KUBECONFIG=$STATE/kubeconfig

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --name) need_value "$@"; NAME=$2; shift ;;
      --domain) need_value "$@"; DOMAIN=$2; shift ;;
      --http-port) need_value "$@"; HTTP_PORT=$2; shift ;;
      --https-port) need_value "$@"; HTTPS_PORT=$2; shift ;;
      --listen) need_value "$@"; LISTEN=$2; shift ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage; exit 0 ;;
      up | cluster | images | platform | delete) VERB=$1 ;;
      *) misuse "“$1” is not known." ;;
    esac
    shift
  done
  [[ $NAME =~ ^[a-z0-9][a-z0-9-]{0,39}$ ]] || misuse "--name: “$NAME” is no name (small letters, digits and -)."
  [[ $LISTEN =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || misuse "--listen: “$LISTEN” is no IPv4 address."
  check_domain --domain "$DOMAIN"
  check_port --http-port "$HTTP_PORT"
  check_port --https-port "$HTTPS_PORT"
}

main() {
  local -a before=()
  [ -f "$OPTIONS" ] && read -r -a before <"$OPTIONS"
  read_options "${before[@]}" "$@"
  architecture >/dev/null
  own_programs
  case $VERB in
    up) cluster; images; platform ;;
    cluster) cluster ;;
    images) need_cluster; images ;;
    platform) need_cluster; platform ;;
    delete) delete ;;
  esac
}

# the cluster ----------------------------------------------------------------------------------------------------------

cluster() {
  check_docker
  refuse_bare
  need_kind
  need_kubectl
  need_helm
  make_cluster
  printf '%s --domain %s\n' "$(claim)" "$DOMAIN" | write_file "$OPTIONS" 0644
  step "Traefik, chart $TRAEFIK_CHART_VERSION"
  traefik_values | write_file "$STATE/traefik.yaml" 0644
  release traefik traefik "$TRAEFIK_CHART" --version "$TRAEFIK_CHART_VERSION" --values "$STATE/traefik.yaml"
  record | write_file "$RECORD" 0644
  note "The cluster is up: export KUBECONFIG=$KUBECONFIG"
}

check_docker() {
  step "Docker"
  have docker || fail "Docker is not there." "no program docker is on PATH" \
    "install Docker, or use the cluster without it: make local-up CLUSTER=bare"
  timeout 20 docker info >/dev/null 2>&1 || fail "Docker does not answer." \
    "the engine does not run, or you may not use it" \
    "start it (systemctl start docker), or join its group (usermod -aG docker, then log in again)"
}

refuse_bare() {
  [ ! -e "$STATE/settings.json" ] && return 0
  fail "In $STATE lies a cluster that tools/bare-cluster made." "both keep their things there" \
    "go on with it (make local-up CLUSTER=bare), or remove it first: tools/bare-cluster reset"
}

need_kind() {
  have kind && [[ $(kind version 2>/dev/null) == "kind $KIND_VERSION "* ]] && return 0
  have kind && note "kind on PATH is $(kind version 2>/dev/null | cut -d ' ' -f 2), not $KIND_VERSION: a copy of its own is used"
  step "kind $KIND_VERSION"
  fetch "https://github.com/kubernetes-sigs/kind/releases/download/$KIND_VERSION/kind-linux-$(architecture)" "$(sum_of KIND)" "$STATE/bin/kind"
  run chmod 0755 "$STATE/bin/kind"
}

make_cluster() {
  step "Cluster $NAME"
  if cluster_exists; then
    mend_cluster
  fi
  if ! cluster_exists; then
    check_free "$HTTP_PORT" --http-port
    check_free "$HTTPS_PORT" --https-port
    kind_configuration | write_file "$STATE/kind.yaml" 0644
    claim | write_file "$CLAIM" 0644
    run kind create cluster --name "$NAME" --image "$KIND_NODE_IMAGE" --config "$STATE/kind.yaml" \
      --kubeconfig "$KUBECONFIG" --wait 240s || fail "kind could not make the cluster." "its own words are above" \
      "mend what they name (memory, disk, the kernel's inotify limits), and run this again"
  fi
  run kind export kubeconfig --name "$NAME" --kubeconfig "$KUBECONFIG"
  run kubectl wait --for=condition=Ready nodes --all --timeout=240s || fail "The node does not become ready." \
    "kubectl's own words are above" "kubectl describe nodes; or begin anew: scripts/setup-kind.sh delete"
  # What the node has come through is complete; what comes next is repeated by Helm.
  run touch "$CLAIM.done"
}

cluster_exists() { have kind && kind get clusters 2>/dev/null | grep -Fxq -- "$NAME"; }

# One that is there is kept when it is ours and whole, started when it is stopped, and made anew when we were killed
# while we made it; somebody else's is not touched.
mend_cluster() {
  local node=$NAME-control-plane
  if [ ! -f "$CLAIM" ]; then
    fail "There is a cluster $NAME already." "this folder did not make it" \
      "take another name (--name), or remove it: kind delete cluster --name $NAME"
    return 0
  fi
  if [ "$(cat "$CLAIM")" != "$(claim)" ]; then
    fail "The cluster $NAME was made with other options." "ports and names of a kind cluster stay as they were made: $(cat "$CLAIM")" \
      "give the same options, or remove it first: scripts/setup-kind.sh delete"
    return 0
  fi
  if [ ! -f "$CLAIM.done" ]; then
    note "an earlier run was stopped while it made the cluster: it is made anew"
    run kind delete cluster --name "$NAME"
    return 0
  fi
  if [ "$(docker inspect --format '{{.State.Running}}' "$node" 2>/dev/null)" != true ]; then
    note "its node is stopped: it is started"
    run docker start "$node" || fail "The node of the cluster cannot be started." "Docker's own words are above" \
      "free the ports that it names, or begin anew: scripts/setup-kind.sh delete"
  fi
}

check_free() {
  taken "$1" && fail "Port $1 is taken." "another program on this machine listens there" \
    "stop it (ss -ltnp 'sport = :$1' names it), or choose another one: $2"
  return 0
}

kind_configuration() {
  cat <<TEXT
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraPortMappings:
      - {containerPort: $HTTP_NODE_PORT, hostPort: $HTTP_PORT, listenAddress: "$LISTEN", protocol: TCP}
      - {containerPort: $HTTPS_NODE_PORT, hostPort: $HTTPS_PORT, listenAddress: "$LISTEN", protocol: TCP}
TEXT
}

traefik_values() {
  cat <<TEXT
service:
  spec:
    type: NodePort
ports:
  web:
    nodePort: $HTTP_NODE_PORT
  websecure:
    nodePort: $HTTPS_NODE_PORT
ingressClass:
  enabled: true
  isDefaultClass: true
  name: traefik
providers:
  kubernetesCRD:
    enabled: false
  kubernetesIngress:
    enabled: true
ingressRoute:
  dashboard:
    enabled: false
global:
  checkNewVersion: false
  sendAnonymousUsage: false
TEXT
}

# What cannot be changed in a cluster that is there …
claim() { printf -- '--name %s --listen %s --http-port %d --https-port %d\n' "$NAME" "$LISTEN" "$HTTP_PORT" "$HTTPS_PORT"; }

# … and what scripts/deploy wants to know of it.
record() { printf '{"kind": "%s", "domain": "%s", "http_port": %d}\n' "$NAME" "$DOMAIN" "$HTTP_PORT"; }

need_cluster() {
  dry || [ -f "$RECORD" ] || fail "There is no complete cluster here." "$RECORD is not there" \
    "scripts/setup-kind.sh cluster"
}

# images and platform --------------------------------------------------------------------------------------------------

images() {
  check_docker
  need_kind
  step "Images"
  local list=$ROOT/build/images/docker.txt line
  run python3 "$ROOT/tools/docker-images" --list "$list" || fail "The images could not be built." \
    "Docker's own words are above" "mend what they name, and run this again: what is built is not built twice"
  dry && { note "would load each of the images into $NAME (kind load docker-image)"; return 0; }
  while read -r line; do
    run kind load docker-image --name "$NAME" "$line" || fail "$line could not be loaded into the cluster." \
      "kind's own words are above" "look at the disk's space (docker system df), and run this again"
  done <"$list"
}

platform() {
  need_kubectl
  need_helm
  step "Platform"
  run python3 "$ROOT/scripts/deploy" || fail "The platform does not come up." "the words of scripts/deploy are above" \
    "mend what they name, and run this again"
}

delete() {
  step "Delete $NAME"
  if cluster_exists; then
    [ -f "$CLAIM" ] || { fail "The cluster $NAME is not removed." "this folder did not make it" \
      "if it is yours: kind delete cluster --name $NAME"; return 0; }
    run kind delete cluster --name "$NAME"
  else
    note "there is none"
  fi
  run rm -f "$OPTIONS" "$CLAIM" "$CLAIM.done" "$RECORD" "$KUBECONFIG" "$STATE/kind.yaml" "$STATE/traefik.yaml"
  run rm -f "$ROOT/.storefleet/cluster.json"
}

main "$@"
