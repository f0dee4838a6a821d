#!/usr/bin/env bash
# Set up the platform on one server: firewall, k3s, certificates, and the platform with nightly
# backups of its database. Every part converges from the state that an earlier run left.
set -euo pipefail
# shellcheck source=scripts/setup/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/common.sh"
# shellcheck source=scripts/setup/pins.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/pins.sh"

usage() {
  cat <<TEXT
Usage: scripts/setup-k3s.sh --domain DOMAIN --email ADDRESS TLS [options]

Run this as root on a server with systemd (Debian 12 or Ubuntu 24.04, at least 2 processors and
4 GiB). The dashboard is at storefleet.DOMAIN, the stores are at NAME.DOMAIN; one wildcard DNS
record and one wildcard certificate are sufficient.

TLS, one of:
  --tls-cert FILE --tls-key FILE   use an existing certificate for *.DOMAIN
  --issuer FILE                    install cert-manager $CERT_MANAGER_CHART_VERSION, which gets and
                                   renews the wildcard certificate; FILE (YAML) contains a
                                   ClusterIssuer with a DNS-01 solver and its Secret
  --no-tls                         use plain HTTP, for a trial

  --email ADDRESS      e-mail address of the platform's first owner
  --address IP         public address of this server (that of its default route)
  --image-prefix P     registry of the images, such as registry.example.com/; without it, the
                       archives in build/images are imported (create them with tools/build-images)
  --values FILE        additional values for charts/platform; they take precedence
  --ssh-port PORT      port of SSH, which stays open (22)
  --open-api           keep the port of the Kubernetes API (6443) open
  --no-firewall        do not configure the firewall
  --skip-dns           do not check that DOMAIN resolves to this server
  --replace-k3s        replace another version of k3s with $K3S_VERSION
  --dry-run            print what would be done
  --help               print this help

A repeated run with the same options changes nothing; an interrupted one can be repeated. For
backups see scripts/platform-backup --help.
TEXT
}

DOMAIN='' EMAIL='' TLS_CERT='' TLS_KEY='' ISSUER='' TLS='' NO_TLS=no ADDRESS='' IMAGE_PREFIX=''
VALUES='' SSH_PORT=22 OPEN_API=no FIREWALL=yes DNS=yes REPLACE=no

K3S=${STOREFLEET_K3S_PATH:-/usr/local/bin/k3s}
ETC=${STOREFLEET_ETC:-/etc}
STATE=${STOREFLEET_CLUSTER_STATE:-/var/lib/storefleet}
SECRET=storefleet-wildcard # in Traefik's namespace, as its certificate for every host
export KUBECONFIG=$ETC/rancher/k3s/k3s.yaml

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --domain) require_value "$@"; DOMAIN=$2; shift ;;
      --email) require_value "$@"; EMAIL=$2; shift ;;
      --tls-cert) require_value "$@"; TLS_CERT=$2; shift ;;
      --tls-key) require_value "$@"; TLS_KEY=$2; shift ;;
      --issuer) require_value "$@"; ISSUER=$2; shift ;;
      --no-tls) NO_TLS=yes ;;
      --address) require_value "$@"; ADDRESS=$2; shift ;;
      --image-prefix) require_value "$@"; IMAGE_PREFIX=$2; shift ;;
      --values) require_value "$@"; VALUES=$2; shift ;;
      --ssh-port) require_value "$@"; SSH_PORT=$2; shift ;;
      --open-api) OPEN_API=yes ;;
      --no-firewall) FIREWALL=no ;;
      --skip-dns) DNS=no ;;
      --replace-k3s) REPLACE=yes ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage; exit 0 ;;
      *) fail_usage "The argument “$1” is unknown." ;;
    esac
    shift
  done
  [ -n "$DOMAIN" ] || fail_usage "--domain is missing."
  check_domain --domain "$DOMAIN"
  [[ $EMAIL =~ ^[^@[:space:]\"\\]+@[^@[:space:]\"\\]+$ ]] ||
    fail_usage "--email: “$EMAIL” is not a valid e-mail address."
  [[ $IMAGE_PREFIX =~ ^([a-z0-9][a-z0-9._:/-]*/)?$ ]] ||
    fail_usage "--image-prefix: “$IMAGE_PREFIX” must end with /."
  check_port --ssh-port "$SSH_PORT"
  read_tls_options
}

read_tls_options() {
  local count=0
  [ -n "$TLS_CERT$TLS_KEY" ] && { TLS=files; count=$((count + 1)); }
  [ -n "$ISSUER" ] && { TLS=issuer; count=$((count + 1)); }
  [ "$NO_TLS" = yes ] && { TLS=none; count=$((count + 1)); }
  [ "$count" -eq 1 ] ||
    fail_usage "One TLS option is required: --tls-cert with --tls-key, --issuer, or --no-tls."
  if [ "$TLS" = files ]; then
    [ -n "$TLS_CERT" ] && [ -n "$TLS_KEY" ] ||
      fail_usage "--tls-cert and --tls-key must be given together."
    check_readable --tls-cert "$TLS_CERT"
    check_readable --tls-key "$TLS_KEY"
  fi
  [ "$TLS" = issuer ] && check_readable --issuer "$ISSUER"
  [ -n "$VALUES" ] && check_readable --values "$VALUES"
  return 0
}

check_readable() { [ -r "$2" ] || fail_usage "$1: $2 cannot be read."; }

main() {
  read_options "$@"
  get_architecture >/dev/null
  use_own_programs
  check_machine
  check_dns
  set_up_firewall
  install_k3s
  ensure_helm
  set_up_certificates
  import_images
  deploy_platform
}

check_machine() {
  print_step "This machine"
  [ "${STOREFLEET_ASSUME_ROOT:-$(id -u)}" = 0 ] || fail "This script must run as root." \
    "it configures k3s and the firewall of the system" "sudo $0 …"
  has_program systemctl || fail "This machine does not use systemd." \
    "k3s runs as a systemd service" "use a server with systemd"
  if [ "$TLS" = files ] && has_program openssl; then
    openssl x509 -in "$TLS_CERT" -noout -checkend 86400 >/dev/null 2>&1 ||
      fail "The certificate $TLS_CERT cannot be used." \
        "it cannot be read, or expires within a day" "use a valid certificate for *.$DOMAIN"
    openssl x509 -in "$TLS_CERT" -noout -checkhost "probe.$DOMAIN" | grep -q 'does match' ||
      fail "The certificate $TLS_CERT is not valid for the stores." \
        "it does not contain the name *.$DOMAIN" "use a certificate that does"
  fi
}

find_own_address() {
  ip -4 route get 192.0.2.1 2>/dev/null | grep -o 'src [0-9.]*' | cut -d ' ' -f 2
}

check_dns() {
  [ "$DNS" = yes ] || return 0
  print_step "DNS"
  local host found advice
  [ -n "$ADDRESS" ] || ADDRESS=$(find_own_address || true)
  [ -n "$ADDRESS" ] || {
    fail "The address of this server is unknown." "the server has no default route" "--address IP"
    return 0
  }
  for host in "storefleet.$DOMAIN" "any-store.$DOMAIN"; do
    found=$(getent ahostsv4 "$host" | cut -d ' ' -f 1 | sort -u | tr '\n' ' ' || true)
    [[ " $found" == *" $ADDRESS "* ]] && continue
    advice="create the record “*.$DOMAIN. A $ADDRESS” at your DNS provider, wait until it is"
    advice+=" published, then run this command again; or use --address or --skip-dns"
    fail "$host does not resolve to this server." \
      "it resolves to ${found:-nothing}; this server has the address $ADDRESS" "$advice"
    return 0
  done
  print_note "*.$DOMAIN resolves to $ADDRESS"
}

set_up_firewall() {
  [ "$FIREWALL" = yes ] || return 0
  print_step "Firewall: open ports $(list_open_ports | tr '\n' ' ')only"
  # Closing the port of the current SSH session would lock the caller out.
  local session_port=${SSH_CONNECTION:-}
  session_port=${session_port##* }
  if [ -n "$session_port" ] && [ "$session_port" != "$SSH_PORT" ]; then
    fail "The firewall would lock you out." \
      "this session uses port $session_port, but only $SSH_PORT would stay open" \
      "use --ssh-port $session_port"
    return 0
  fi
  if has_program ufw; then configure_ufw; else configure_nft; fi
}

list_open_ports() {
  printf '%s\n' "$SSH_PORT" 80 443
  [ "$OPEN_API" = yes ] && echo 6443
  return 0
}

configure_ufw() {
  local port
  for port in $(list_open_ports); do run ufw allow "$port/tcp"; done
  [ "$OPEN_API" = yes ] || run ufw delete allow 6443/tcp || true
  # Pods and Services of k3s communicate with the node and through it.
  run ufw allow from 10.42.0.0/16
  run ufw allow from 10.43.0.0/16
  run ufw default deny incoming
  run ufw --force enable
}

configure_nft() {
  has_program nft || {
    fail "Neither ufw nor nft is installed." "one of them is needed to configure the firewall" \
      "apt-get install nftables, or --no-firewall if something else keeps the ports closed"
    return 0
  }
  print_nft_rules | write_file "$ETC/storefleet/firewall.nft" 0600
  print_firewall_unit | write_file "$ETC/systemd/system/storefleet-firewall.service" 0644
  run systemctl daemon-reload
  run systemctl enable storefleet-firewall.service
  run systemctl restart storefleet-firewall.service ||
    fail "The firewall cannot be enabled." \
      "nft rejects the rules; see journalctl -u storefleet-firewall" \
      "fix the cause, then run this command again"
}

print_nft_rules() {
  cat <<TEXT
table inet storefleet
delete table inet storefleet
table inet storefleet {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif "lo" accept
    iifname { "cni0", "flannel.1" } accept
    meta l4proto { icmp, ipv6-icmp } accept
    udp dport { 68, 546 } accept
    tcp dport { $(list_open_ports | paste -sd ',' - | sed 's/,/, /g') } accept
  }
}
TEXT
}

print_firewall_unit() {
  cat <<TEXT
[Unit]
Description=Open ports of this server, for Storefleet
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$(command -v nft || echo /usr/sbin/nft) -f $ETC/storefleet/firewall.nft

[Install]
WantedBy=multi-user.target
TEXT
}

install_k3s() {
  print_step "k3s $K3S_VERSION"
  local installed suffix='' release raw replaced=no
  release=https://github.com/k3s-io/k3s/releases/download/${K3S_VERSION/+/%2B}
  raw=https://raw.githubusercontent.com/k3s-io/k3s/${K3S_VERSION/+/%2B}
  [ "$(get_architecture)" = arm64 ] && suffix=-arm64
  if [ -x "$K3S" ] && ! has_checksum "$K3S" "$(get_checksum K3S)"; then
    installed=$("$K3S" --version 2>/dev/null | head -n 1 | cut -d ' ' -f 3)
    [ "$REPLACE" = yes ] || {
      fail "Another version of k3s is installed: ${installed:-one that does not start}." \
        "this script requires $K3S_VERSION" \
        "run it again with --replace-k3s; the workloads of the cluster are kept"
      return 0
    }
    replaced=yes
  fi
  print_k3s_configuration | write_file "$ETC/rancher/k3s/config.yaml" 0600
  download "$release/k3s$suffix" "$(get_checksum K3S)" "$K3S"
  run chmod 0755 "$K3S"
  download "$raw/install.sh" "$K3S_INSTALLER_SHA256" "$STATE/downloads/k3s-install.sh"
  # The installer only creates the service: the program was downloaded and verified above.
  run env INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_BIN_DIR="$(dirname "$K3S")" \
    sh "$STATE/downloads/k3s-install.sh" server ||
    fail "k3s does not start." "see the installer's message above" \
      "run journalctl -u k3s; fix the cause, then run this command again"
  [ "$replaced" = no ] || run systemctl restart k3s
  ensure_kubectl
  wait_for_node
}

print_k3s_configuration() {
  cat <<TEXT
write-kubeconfig-mode: "0600"
secrets-encryption: true
tls-san:
  - storefleet.$DOMAIN
TEXT
}

wait_for_node() {
  local tries=0
  is_dry_run && { print_note "would wait until the node is ready"; return 0; }
  until kubectl get nodes --output name 2>/dev/null | grep -q .; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] ||
      fail "k3s has no node after two minutes." "its API does not answer" "journalctl -u k3s"
    sleep "${STOREFLEET_PAUSE:-2}"
  done
  run kubectl wait --for=condition=Ready nodes --all --timeout=240s ||
    fail "The node does not become ready." "see kubectl's message above" \
      "journalctl -u k3s; kubectl describe nodes"
}

set_up_certificates() {
  print_step "Traefik and certificates"
  case $TLS in
    files)
      run kubectl create secret tls "$SECRET" --namespace kube-system --cert "$TLS_CERT" \
        --key "$TLS_KEY" --dry-run=client --output yaml | apply_manifest
      ;;
    issuer) set_up_issuer ;;
  esac
  print_traefik_configuration | apply_manifest
}

set_up_issuer() {
  install_release cert-manager cert-manager "$CERT_MANAGER_CHART" \
    --version "$CERT_MANAGER_CHART_VERSION" --set crds.enabled=true
  local advice="correct it: it must contain a ClusterIssuer storefleet with a DNS-01 solver,"
  advice+=" and the Secret that it names in the namespace cert-manager"
  run kubectl apply --server-side --filename "$ISSUER" ||
    fail "$ISSUER cannot be applied." "see kubectl's message above" "$advice"
  print_certificate | apply_manifest
  is_dry_run || kubectl wait --for=condition=Ready "certificate/$SECRET" --namespace kube-system \
    --timeout=600s ||
    fail "The certificate for *.$DOMAIN was not issued." \
      "run kubectl -n kube-system describe certificate $SECRET to see the cause" \
      "correct the ClusterIssuer (token and zone of the DNS provider), then run this command again"
}

apply_manifest() {
  if is_dry_run; then
    cat >/dev/null
    print_note "would apply it"
  else
    kubectl apply --server-side --force-conflicts --filename -
  fi
}

print_certificate() {
  cat <<TEXT
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: $SECRET
  namespace: kube-system
spec:
  secretName: $SECRET
  dnsNames: ["*.$DOMAIN"]
  issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: storefleet}
TEXT
}

print_traefik_configuration() {
  cat <<TEXT
apiVersion: helm.cattle.io/v1
kind: HelmChartConfig
metadata:
  name: traefik
  namespace: kube-system
spec:
  valuesContent: |
TEXT
  if [ "$TLS" = none ]; then
    echo '    global: {sendAnonymousUsage: false}'
    return 0
  fi
  cat <<TEXT
    global: {sendAnonymousUsage: false}
    ports:
      web:
        http:
          redirections:
            entryPoint: {to: websecure, scheme: https, permanent: true}
    tlsStore:
      default:
        defaultCertificate: {secretName: $SECRET}
TEXT
}

import_images() {
  [ -z "$IMAGE_PREFIX" ] || return 0
  print_step "Images of $ROOT/build/images"
  local archive found=no
  for archive in "$ROOT"/build/images/*.oci.tar; do
    [ -f "$archive" ] || continue
    found=yes
    run "$K3S" ctr --namespace k8s.io images import "$archive" ||
      fail "$archive cannot be imported." "see containerd's message above" \
        "build it again (tools/build-images) and check the disk space"
  done
  [ "$found" = yes ] || fail "There are no images." \
    "--image-prefix was not given, and build/images contains no archive" \
    "use --image-prefix with a registry, or run tools/build-images --output build/images"
}

deploy_platform() {
  print_step "Platform"
  print_platform_values | write_file "$STATE/values.yaml" 0600
  local values=(--values "$ROOT/charts/platform/values-prod.yaml" --values "$STATE/values.yaml")
  [ -n "$VALUES" ] && values+=(--values "$VALUES")
  print_namespace | apply_manifest
  install_release storefleet storefleet "$ROOT/charts/platform" "${values[@]}"
  print_note "Dashboard: $(get_scheme)://storefleet.$DOMAIN/"
  print_note "Sign in as $EMAIL with the password of:"
  print_note "kubectl -n storefleet get secret storefleet-admin -o" \
    "go-template='{{.data.password|base64decode}}'"
}

print_namespace() {
  cat <<TEXT
apiVersion: v1
kind: Namespace
metadata:
  name: storefleet
  labels: {pod-security.kubernetes.io/enforce: restricted}
TEXT
}

get_scheme() { if [ "$TLS" = none ]; then echo http; else echo https; fi; }

# values-prod.yaml expects external PostgreSQL and NATS; here the cluster runs one of each.
print_platform_values() {
  local tls_enabled=true
  [ "$TLS" = none ] && tls_enabled=false
  cat <<TEXT
admin: {email: "$EMAIL"}
stores: {domain: "$DOMAIN", scheme: $(get_scheme), imagePrefix: "$IMAGE_PREFIX"}
image: {repository: "${IMAGE_PREFIX}storefleet/platform"}
exposure:
  type: ingress
  className: traefik
  namespace: kube-system
  address: $(get_scheme)://traefik.kube-system.svc
  host: storefleet.$DOMAIN
  tls: {enabled: $tls_enabled, secretName: ""}
networkPolicy:
  callers:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
postgresql: {enabled: true}
nats: {enabled: true}
backup: {enabled: true}
gateway: {replicas: 2}
notifier: {replicas: 1}
provisioner: {replicas: 1}
reaper: {replicas: 1}
TEXT
}

main "$@"
