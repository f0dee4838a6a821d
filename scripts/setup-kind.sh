#!/usr/bin/env bash
# Set up a Kubernetes cluster in Docker (kind) with Traefik, the images and the platform. Every part
# converges from the state that an earlier run left.
set -euo pipefail
# shellcheck source=scripts/setup/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/common.sh"
# shellcheck source=scripts/setup/pins.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/pins.sh"

usage() {
  cat <<TEXT
Usage: scripts/setup-kind.sh [options] [up | cluster | images | platform | delete]

  up         set up cluster, images and platform (default)
  cluster    create the cluster (kind $KIND_VERSION, ${KIND_NODE_IMAGE%%@*}) with Traefik
  images     build the images with Docker and load them into the cluster
  platform   deploy the platform and write .storefleet/cluster.json
  delete     delete the cluster with everything in it

  --name NAME        name of the cluster (storefleet)
  --domain DOMAIN    stores are at NAME.DOMAIN, the dashboard at storefleet.DOMAIN
                     (127.0.0.1.nip.io; if the resolver drops such answers, use localhost, which
                     browsers, curl and most systems resolve)
  --http-port PORT   port of this machine for HTTP (80)
  --https-port PORT  port of this machine for HTTPS (443)
  --listen ADDRESS   address of this machine (127.0.0.1; 0.0.0.0 exposes the stores to the network)
  --dry-run          print what would be done
  --help             print this help

Requires Docker. kind, kubectl and Helm 4 are downloaded to .storefleet/cluster/bin if they are
missing or have another version; the downloads are verified by their SHA-256 sums.
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

OPTIONS=$STATE/kind.options # the options of the last run, repeated by the next one
CLAIM=$STATE/kind.begun     # the cluster was created from this folder; it may be incomplete
RECORD=$STATE/kind.json     # the cluster is complete
export KUBECONFIG=$STATE/kubeconfig

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --name) require_value "$@"; NAME=$2; shift ;;
      --domain) require_value "$@"; DOMAIN=$2; shift ;;
      --http-port) require_value "$@"; HTTP_PORT=$2; shift ;;
      --https-port) require_value "$@"; HTTPS_PORT=$2; shift ;;
      --listen) require_value "$@"; LISTEN=$2; shift ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage; exit 0 ;;
      up | cluster | images | platform | delete) VERB=$1 ;;
      *) fail_usage "The argument “$1” is unknown." ;;
    esac
    shift
  done
  [[ $NAME =~ ^[a-z0-9][a-z0-9-]{0,39}$ ]] ||
    fail_usage "--name: “$NAME” is not a valid name (lowercase letters, digits and hyphens)."
  [[ $LISTEN =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] ||
    fail_usage "--listen: “$LISTEN” is not an IPv4 address."
  check_domain --domain "$DOMAIN"
  check_port --http-port "$HTTP_PORT"
  check_port --https-port "$HTTPS_PORT"
}

main() {
  local -a last_options=()
  [ -f "$OPTIONS" ] && read -r -a last_options <"$OPTIONS"
  read_options "${last_options[@]}" "$@"
  get_architecture >/dev/null
  use_own_programs
  case $VERB in
    up) set_up_cluster; load_images; deploy_platform ;;
    cluster) set_up_cluster ;;
    images) require_cluster; load_images ;;
    platform) require_cluster; deploy_platform ;;
    delete) delete_cluster ;;
  esac
}

set_up_cluster() {
  check_docker
  check_no_bare_cluster
  ensure_kind
  ensure_kubectl
  ensure_helm
  ensure_cluster
  printf '%s --domain %s\n' "$(print_claim)" "$DOMAIN" | write_file "$OPTIONS" 0644
  print_step "Traefik, chart $TRAEFIK_CHART_VERSION"
  print_traefik_values | write_file "$STATE/traefik.yaml" 0644
  install_release traefik traefik "$TRAEFIK_CHART" --version "$TRAEFIK_CHART_VERSION" \
    --values "$STATE/traefik.yaml"
  print_record | write_file "$RECORD" 0644
  print_note "The cluster is ready: export KUBECONFIG=$KUBECONFIG"
}

check_docker() {
  print_step "Docker"
  has_program docker || fail "Docker is not installed." "the program docker is not on PATH" \
    "install Docker, or use the cluster that does not need it: make local-up CLUSTER=bare"
  timeout 20 docker info >/dev/null 2>&1 || fail "Docker does not answer." \
    "the engine is not running, or you lack permission to use it" \
    "start it (systemctl start docker), or join its group (usermod -aG docker) and log in again"
}

check_no_bare_cluster() {
  [ ! -e "$STATE/settings.json" ] && return 0
  fail "The folder $STATE contains a cluster of tools/bare-cluster." \
    "both kinds of cluster use this folder" \
    "use that cluster (make local-up CLUSTER=bare), or delete it: tools/bare-cluster reset"
}

ensure_kind() {
  has_program kind && [[ $(kind version 2>/dev/null) == "kind $KIND_VERSION "* ]] && return 0
  has_program kind && print_note "kind on PATH is $(kind version 2>/dev/null | cut -d ' ' -f 2)," \
    "not $KIND_VERSION: a separate copy is used"
  print_step "kind $KIND_VERSION"
  local release=https://github.com/kubernetes-sigs/kind/releases/download/$KIND_VERSION
  download "$release/kind-linux-$(get_architecture)" "$(get_checksum KIND)" "$STATE/bin/kind"
  run chmod 0755 "$STATE/bin/kind"
}

ensure_cluster() {
  print_step "Cluster $NAME"
  if cluster_exists; then
    repair_cluster
  fi
  if ! cluster_exists; then
    check_port_free "$HTTP_PORT" --http-port
    check_port_free "$HTTPS_PORT" --https-port
    print_kind_configuration | write_file "$STATE/kind.yaml" 0644
    print_claim | write_file "$CLAIM" 0644
    run kind create cluster --name "$NAME" --image "$KIND_NODE_IMAGE" --config "$STATE/kind.yaml" \
      --kubeconfig "$KUBECONFIG" --wait 240s ||
      fail "kind cannot create the cluster." "see kind's message above" \
        "fix the cause (memory, disk, inotify limits of the kernel), then run this command again"
  fi
  run kind export kubeconfig --name "$NAME" --kubeconfig "$KUBECONFIG"
  run kubectl wait --for=condition=Ready nodes --all --timeout=240s ||
    fail "The node does not become ready." "see kubectl's message above" \
      "run kubectl describe nodes; or start over: scripts/setup-kind.sh delete"
  # From here on the cluster itself is complete; Helm repeats the rest.
  run touch "$CLAIM.done"
}

cluster_exists() {
  has_program kind && kind get clusters 2>/dev/null | grep -Fxq -- "$NAME"
}

# Keep an existing cluster if it is ours and complete, start it if it is stopped, and delete it if
# its creation was interrupted. A cluster that was created elsewhere is not touched.
repair_cluster() {
  local node=$NAME-control-plane
  if [ ! -f "$CLAIM" ]; then
    fail "A cluster $NAME exists already." "it was not created from this folder" \
      "choose another name (--name), or delete it: kind delete cluster --name $NAME"
    return 0
  fi
  if [ "$(cat "$CLAIM")" != "$(print_claim)" ]; then
    fail "The cluster $NAME was created with other options." \
      "ports and name of a kind cluster cannot be changed: $(cat "$CLAIM")" \
      "use the same options, or delete it first: scripts/setup-kind.sh delete"
    return 0
  fi
  if [ ! -f "$CLAIM.done" ]; then
    print_note "the creation of the cluster was interrupted: it is repeated"
    run kind delete cluster --name "$NAME"
    return 0
  fi
  if [ "$(docker inspect --format '{{.State.Running}}' "$node" 2>/dev/null)" != true ]; then
    print_note "the node is stopped: it is started"
    run docker start "$node" ||
      fail "The cluster's node cannot be started." "see Docker's message above" \
        "free the ports that it names, or start over: scripts/setup-kind.sh delete"
  fi
}

check_port_free() {
  is_port_taken "$1" && fail "Port $1 is in use." "another program on this machine listens there" \
    "stop it (find it with: ss -ltnp 'sport = :$1'), or choose another port: $2"
  return 0
}

print_kind_configuration() {
  local mapping="listenAddress: \"$LISTEN\", protocol: TCP"
  cat <<TEXT
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraPortMappings:
      - {containerPort: $HTTP_NODE_PORT, hostPort: $HTTP_PORT, $mapping}
      - {containerPort: $HTTPS_NODE_PORT, hostPort: $HTTPS_PORT, $mapping}
TEXT
}

print_traefik_values() {
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

# The options that cannot be changed in an existing cluster.
print_claim() {
  printf -- '--name %s --listen %s --http-port %d --https-port %d\n' \
    "$NAME" "$LISTEN" "$HTTP_PORT" "$HTTPS_PORT"
}

# The facts that scripts/deploy reads.
print_record() {
  printf '{"kind": "%s", "domain": "%s", "http_port": %d}\n' "$NAME" "$DOMAIN" "$HTTP_PORT"
}

require_cluster() {
  is_dry_run || [ -f "$RECORD" ] || fail "There is no complete cluster." "$RECORD does not exist" \
    "scripts/setup-kind.sh cluster"
}

load_images() {
  check_docker
  ensure_kind
  print_step "Images"
  local list=$ROOT/build/images/docker.txt image
  run python3 "$ROOT/tools/docker-images" --list "$list" ||
    fail "The images cannot be built." "see Docker's message above" \
      "fix the cause, then run this command again: finished images are not built again"
  is_dry_run && {
    print_note "would load each of the images into $NAME (kind load docker-image)"
    return 0
  }
  while read -r image; do
    run kind load docker-image --name "$NAME" "$image" ||
      fail "The image $image cannot be loaded into the cluster." "see kind's message above" \
        "check the disk space (docker system df), then run this command again"
  done <"$list"
}

deploy_platform() {
  ensure_kubectl
  ensure_helm
  print_step "Platform"
  run python3 "$ROOT/scripts/deploy" ||
    fail "The platform does not become ready." "see the message of scripts/deploy above" \
      "fix the cause, then run this command again"
}

delete_cluster() {
  print_step "Delete $NAME"
  if cluster_exists; then
    [ -f "$CLAIM" ] || {
      fail "The cluster $NAME is not deleted." "it was not created from this folder" \
        "if it is yours: kind delete cluster --name $NAME"
      return 0
    }
    run kind delete cluster --name "$NAME"
  else
    print_note "it does not exist"
  fi
  run rm -f "$OPTIONS" "$CLAIM" "$CLAIM.done" "$RECORD" "$KUBECONFIG" "$STATE/kind.yaml" \
    "$STATE/traefik.yaml"
  run rm -f "$ROOT/.storefleet/cluster.json"
}

main "$@"
