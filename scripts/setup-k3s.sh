#!/usr/bin/env bash
# The platform on one server of your own: k3s, certificates, firewall, the platform with nightly backups of its database.
set -euo pipefail
# shellcheck source=scripts/setup/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/common.sh"
# shellcheck source=scripts/setup/pins.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/pins.sh"

usage() {
  cat <<TEXT
Usage: scripts/setup-k3s.sh --domain DOMAIN --email ADDRESS TLS [options]

Run as root on a server with systemd (Debian 12 or Ubuntu 24.04, 2 processors, 4 GiB and more). The dashboard comes to
storefleet.DOMAIN, the stores to NAME.DOMAIN: one wildcard record and one wildcard certificate are enough.

TLS, one of:
  --tls-cert FILE --tls-key FILE   a certificate for *.DOMAIN that you have
  --issuer FILE                    a ClusterIssuer of cert-manager with a DNS-01 solver (and its Secret) in YAML: cert-manager
                                   $CERT_MANAGER_CHART_VERSION gets the wildcard certificate and renews it
  --no-tls                         plain http, for a look

  --email ADDRESS      of the first owner of the platform
  --address IP         of this server, as people reach it (the one of its default route)
  --image-prefix P     registry that the images come from, such as registry.example.com/; without it the archives of
                       build/images (tools/build-images, or another machine's) are imported
  --values FILE        more values for charts/platform, above these
  --ssh-port PORT      that stays open (22)
  --open-api           keep the port of the cluster's API (6443) open, too
  --no-firewall        leave the firewall alone
  --skip-dns           do not look whether DOMAIN leads here
  --replace-k3s        put k3s $K3S_VERSION in the place of another version
  --dry-run            only print what would be done
  --help

Again with the same options, it changes nothing; after it was stopped anywhere, it goes on. Backups: see
scripts/platform-backup --help.
TEXT
}

DOMAIN='' EMAIL='' TLS_CERT='' TLS_KEY='' ISSUER='' TLS='' NO_TLS=no ADDRESS='' IMAGE_PREFIX='' VALUES=''
SSH_PORT=22 OPEN_API=no FIREWALL=yes DNS=yes REPLACE=no

K3S=${STOREFLEET_K3S_PATH:-/usr/local/bin/k3s}
ETC=${STOREFLEET_ETC:-/etc}
STATE=${STOREFLEET_CLUSTER_STATE:-/var/lib/storefleet}
export KUBECONFIG=$ETC/rancher/k3s/k3s.yaml

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --domain) need_value "$@"; DOMAIN=$2; shift ;;
      --email) need_value "$@"; EMAIL=$2; shift ;;
      --tls-cert) need_value "$@"; TLS_CERT=$2; shift ;;
      --tls-key) need_value "$@"; TLS_KEY=$2; shift ;;
      --issuer) need_value "$@"; ISSUER=$2; shift ;;
      --no-tls) NO_TLS=yes ;;
      --address) need_value "$@"; ADDRESS=$2; shift ;;
      --image-prefix) need_value "$@"; IMAGE_PREFIX=$2; shift ;;
      --values) need_value "$@"; VALUES=$2; shift ;;
      --ssh-port) need_value "$@"; SSH_PORT=$2; shift ;;
      --open-api) OPEN_API=yes ;;
      --no-firewall) FIREWALL=no ;;
      --skip-dns) DNS=no ;;
      --replace-k3s) REPLACE=yes ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage; exit 0 ;;
      *) misuse "“$1” is not known." ;;
    esac
    shift
  done
  [ -n "$DOMAIN" ] || misuse "--domain is missing."
  check_domain --domain "$DOMAIN"
  [[ $EMAIL =~ ^[^@[:space:]\"\\]+@[^@[:space:]\"\\]+$ ]] || misuse "--email: “$EMAIL” is no e-mail address."
  [[ $IMAGE_PREFIX =~ ^([a-z0-9][a-z0-9._:/-]*/)?$ ]] || misuse "--image-prefix: “$IMAGE_PREFIX” has to end with /."
  check_port --ssh-port "$SSH_PORT"
  read_tls
}

read_tls() {
  local chosen=0
  [ -n "$TLS_CERT$TLS_KEY" ] && { TLS=files; chosen=$((chosen + 1)); }
  [ -n "$ISSUER" ] && { TLS=issuer; chosen=$((chosen + 1)); }
  [ "$NO_TLS" = yes ] && { TLS=none; chosen=$((chosen + 1)); }
  [ "$chosen" -eq 1 ] || misuse "One way to TLS is needed: --tls-cert and --tls-key, --issuer, or --no-tls."
  if [ "$TLS" = files ]; then
    [ -n "$TLS_CERT" ] && [ -n "$TLS_KEY" ] || misuse "--tls-cert and --tls-key belong together."
    readable --tls-cert "$TLS_CERT"
    readable --tls-key "$TLS_KEY"
  fi
  [ "$TLS" = issuer ] && readable --issuer "$ISSUER"
  [ -n "$VALUES" ] && readable --values "$VALUES"
  return 0
}

readable() { [ -r "$2" ] || misuse "$1: $2 cannot be read."; }

main() {
  read_options "$@"
  architecture >/dev/null
  own_programs
  check_machine
  check_dns
  firewall
  k3s
  need_helm
  certificates
  images
  platform
}

# the machine ----------------------------------------------------------------------------------------------------------

check_machine() {
  step "This machine"
  [ "${STOREFLEET_ASSUME_ROOT:-$(id -u)}" = 0 ] || fail "This has to run as root." "k3s and the firewall are the system's" \
    "sudo $0 …"
  have systemctl || fail "There is no systemd." "k3s runs as a service of it" "take a server with systemd"
  if [ "$TLS" = files ] && have openssl; then
    openssl x509 -in "$TLS_CERT" -noout -checkend 86400 >/dev/null 2>&1 || fail "The certificate $TLS_CERT cannot be used." \
      "it cannot be read, or ends within a day" "take one that is valid for *.$DOMAIN"
    openssl x509 -in "$TLS_CERT" -noout -checkhost "probe.$DOMAIN" | grep -q 'does match' ||
      fail "The certificate $TLS_CERT is not for the stores." "it does not name *.$DOMAIN" "take one that does"
  fi
}

own_address() { ip -4 route get 192.0.2.1 2>/dev/null | grep -o 'src [0-9.]*' | cut -d ' ' -f 2; }

check_dns() {
  [ "$DNS" = yes ] || return 0
  step "DNS"
  local host found
  [ -n "$ADDRESS" ] || ADDRESS=$(own_address || true)
  [ -n "$ADDRESS" ] || { fail "The address of this server is not known." "it has no default route" "--address IP"; return 0; }
  for host in "storefleet.$DOMAIN" "any-store.$DOMAIN"; do
    found=$(getent ahostsv4 "$host" | cut -d ' ' -f 1 | sort -u | tr '\n' ' ' || true)
    [[ " $found" == *" $ADDRESS "* ]] && continue
    fail "$host does not lead here." "it resolves to ${found:-nothing}, and this server is $ADDRESS" \
      "make a record “*.$DOMAIN. A $ADDRESS” with whoever keeps $DOMAIN, wait until it is known, and run this again; behind a forwarder give --address, or --skip-dns"
    return 0
  done
  note "*.$DOMAIN leads to $ADDRESS"
}

firewall() {
  [ "$FIREWALL" = yes ] || return 0
  step "Firewall: $(open_ports | tr '\n' ' ')and nothing else"
  # The port of the session this runs in is the one that would lock us out.
  local session=${SSH_CONNECTION:-}
  session=${session##* }
  if [ -n "$session" ] && [ "$session" != "$SSH_PORT" ]; then
    fail "The firewall would lock you out." "you are here by port $session, and only $SSH_PORT would stay open" \
      "give --ssh-port $session"
    return 0
  fi
  if have ufw; then with_ufw; else with_nft; fi
}

open_ports() {
  printf '%s\n' "$SSH_PORT" 80 443
  [ "$OPEN_API" = yes ] && echo 6443
  return 0
}

with_ufw() {
  local port
  for port in $(open_ports); do run ufw allow "$port/tcp"; done
  [ "$OPEN_API" = yes ] || run ufw delete allow 6443/tcp || true
  # Pods and Services of k3s speak to the node and through it.
  run ufw allow from 10.42.0.0/16
  run ufw allow from 10.43.0.0/16
  run ufw default deny incoming
  run ufw --force enable
}

with_nft() {
  have nft || { fail "There is neither ufw nor nft." "the firewall is made with one of them" \
    "apt-get install nftables, or --no-firewall when something else keeps the ports closed"; return 0; }
  nft_rules | write_file "$ETC/storefleet/firewall.nft" 0600
  firewall_unit | write_file "$ETC/systemd/system/storefleet-firewall.service" 0644
  run systemctl daemon-reload
  run systemctl enable storefleet-firewall.service
  run systemctl restart storefleet-firewall.service || fail "The firewall cannot be switched on." \
    "nft refuses its rules; journalctl -u storefleet-firewall has its words" "mend what they name, and run this again"
}

nft_rules() {
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
    tcp dport { $(open_ports | paste -sd ',' - | sed 's/,/, /g') } accept
  }
}
TEXT
}

firewall_unit() {
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

# k3s ------------------------------------------------------------------------------------------------------------------

k3s() {
  step "k3s $K3S_VERSION"
  local installed suffix='' release replaced=no
  release=https://github.com/k3s-io/k3s/releases/download/${K3S_VERSION/+/%2B}
  [ "$(architecture)" = arm64 ] && suffix=-arm64
  if [ -x "$K3S" ] && ! has_sum "$K3S" "$(sum_of K3S)"; then
    installed=$("$K3S" --version 2>/dev/null | head -n 1 | cut -d ' ' -f 3)
    [ "$REPLACE" = yes ] || { fail "There is another k3s here: ${installed:-one that does not start}." \
      "this script is for $K3S_VERSION" "run it again with --replace-k3s, which keeps what runs in the cluster"; return 0; }
    replaced=yes
  fi
  k3s_configuration | write_file "$ETC/rancher/k3s/config.yaml" 0600
  fetch "$release/k3s$suffix" "$(sum_of K3S)" "$K3S"
  run chmod 0755 "$K3S"
  fetch "https://raw.githubusercontent.com/k3s-io/k3s/${K3S_VERSION/+/%2B}/install.sh" "$K3S_INSTALLER_SHA256" \
    "$STATE/downloads/k3s-install.sh"
  # The installer's part is the service; the program is there and checked.
  run env INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_BIN_DIR="$(dirname "$K3S")" sh "$STATE/downloads/k3s-install.sh" server ||
    fail "k3s does not start." "the installer's own words are above" "journalctl -u k3s; mend what it names, and run this again"
  [ "$replaced" = no ] || run systemctl restart k3s
  need_kubectl
  await_node
}

k3s_configuration() {
  cat <<TEXT
write-kubeconfig-mode: "0600"
secrets-encryption: true
tls-san:
  - storefleet.$DOMAIN
TEXT
}

await_node() {
  local tries=0
  dry && { note "would wait until the node is ready"; return 0; }
  until kubectl get nodes --output name 2>/dev/null | grep -q .; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || fail "k3s has no node after two minutes." "its API does not answer" "journalctl -u k3s"
    sleep "${STOREFLEET_PAUSE:-2}"
  done
  run kubectl wait --for=condition=Ready nodes --all --timeout=240s || fail "The node does not become ready." \
    "kubectl's own words are above" "journalctl -u k3s; kubectl describe nodes"
}

# certificates ---------------------------------------------------------------------------------------------------------

SECRET=storefleet-wildcard # in the namespace of Traefik, as its certificate for every host

certificates() {
  step "Traefik and certificates"
  case $TLS in
    files)
      run kubectl create secret tls "$SECRET" --namespace kube-system --cert "$TLS_CERT" --key "$TLS_KEY" \
        --dry-run=client --output yaml | apply
      ;;
    issuer)
      release cert-manager cert-manager "$CERT_MANAGER_CHART" --version "$CERT_MANAGER_CHART_VERSION" --set crds.enabled=true
      run kubectl apply --server-side --filename "$ISSUER" || fail "$ISSUER cannot be applied." \
        "kubectl's own words are above" "correct it: a ClusterIssuer storefleet with a DNS-01 solver, and the Secret it names in the namespace cert-manager"
      certificate | apply
      dry || kubectl wait --for=condition=Ready certificate/$SECRET --namespace kube-system --timeout=600s ||
        fail "The certificate for *.$DOMAIN has not come." "kubectl -n kube-system describe certificate $SECRET names the cause" \
          "mend the ClusterIssuer (token and zone of the DNS provider), and run this again"
      ;;
  esac
  traefik_configuration | apply
}

apply() { if dry; then cat >/dev/null; note "would apply it"; else kubectl apply --server-side --force-conflicts --filename -; fi; }

certificate() {
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

traefik_configuration() {
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

# images and platform --------------------------------------------------------------------------------------------------

images() {
  [ -z "$IMAGE_PREFIX" ] || return 0
  step "Images of $ROOT/build/images"
  local archive found=no
  for archive in "$ROOT"/build/images/*.oci.tar; do
    [ -f "$archive" ] || continue
    found=yes
    run "$K3S" ctr --namespace k8s.io images import "$archive" || fail "$archive cannot be imported." \
      "containerd's own words are above" "build it anew (tools/build-images), and look at the disk's space"
  done
  [ "$found" = yes ] || fail "There are no images." "no --image-prefix is given, and build/images has no archive" \
    "push them to a registry and give --image-prefix, or make them here: tools/build-images --output build/images"
}

platform() {
  step "Platform"
  platform_values | write_file "$STATE/values.yaml" 0600
  local values=(--values "$ROOT/charts/platform/values-prod.yaml" --values "$STATE/values.yaml")
  [ -n "$VALUES" ] && values+=(--values "$VALUES")
  printf '%s\n' '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "storefleet", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}' | apply
  release storefleet storefleet "$ROOT/charts/platform" "${values[@]}"
  note "The dashboard: $(scheme)://storefleet.$DOMAIN/  ($EMAIL; the password:"
  note "kubectl -n storefleet get secret storefleet-admin -o go-template='{{.data.password|base64decode}}')"
}

scheme() { if [ "$TLS" = none ]; then echo http; else echo https; fi; }

# values-prod is for servers of PostgreSQL and NATS elsewhere; here they are in the cluster, one of each.
platform_values() {
  local secure=true
  [ "$TLS" = none ] && secure=false
  cat <<TEXT
admin: {email: "$EMAIL"}
stores: {domain: "$DOMAIN", scheme: $(scheme), imagePrefix: "$IMAGE_PREFIX"}
image: {repository: "${IMAGE_PREFIX}storefleet/platform"}
exposure:
  type: ingress
  className: traefik
  namespace: kube-system
  address: $(scheme)://traefik.kube-system.svc
  host: storefleet.$DOMAIN
  tls: {enabled: $secure, secretName: ""}
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
