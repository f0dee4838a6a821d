# shellcheck shell=bash
# What the set-up scripts share: words for people, a way to only show what would be done, downloads that are checked,
# tools and Helm releases that are brought to where they should be from wherever an earlier run left them.

PROGRAM=$(basename "$0")
DRY_RUN=${DRY_RUN:-no}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STATE=${STOREFLEET_CLUSTER_STATE:-$ROOT/.storefleet/cluster}

# fail WHAT WHY NEXT: end with three sentences. When only showing, say it and go on.
fail() {
  printf '%s: %s\n  Why:  %s\n  Next: %s\n' "$PROGRAM" "$1" "$2" "$3" >&2
  [ "$DRY_RUN" = yes ] && return 0
  exit 1
}

# A wrong call is no state of the machine: it ends a dry run, too.
misuse() {
  printf '%s: %s\n  Next: %s --help\n' "$PROGRAM" "$1" "$PROGRAM" >&2
  exit 2
}

step() { printf '==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
dry() { [ "$DRY_RUN" = yes ]; }

# run COMMAND…: what changes something goes through here.
run() {
  if dry; then
    printf '    would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# write_file PATH MODE: standard input becomes the file, whole or not at all; the same content is left alone.
write_file() {
  local path=$1 mode=$2 fresh content
  content=$(cat)
  if dry; then
    note "would write $path (mode $mode)"
    return 0
  fi
  if [ -f "$path" ] && [ "$(cat "$path")" = "$content" ]; then
    chmod "$mode" "$path"
    return 0
  fi
  mkdir -p "$(dirname "$path")"
  fresh=$(mktemp "$path.XXXXXX")
  printf '%s\n' "$content" >"$fresh"
  chmod "$mode" "$fresh"
  mv -f "$fresh" "$path"
}

architecture() {
  case $(uname -m) in
    x86_64 | amd64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) fail "This machine is a $(uname -m)." "the pinned programs are for x86_64 and aarch64" "use such a machine" ;;
  esac
}

# sum_of NAME: the pinned sum of a program for this machine.
sum_of() {
  local variable
  variable="$1_SHA256_$(architecture | tr '[:lower:]' '[:upper:]')"
  printf '%s' "${!variable}"
}

has_sum() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]; }

# fetch URL SHA256 PATH: downloaded beside it, checked, and only then put in its place.
fetch() {
  local url=$1 sum=$2 path=$3 fresh
  has_sum "$path" "$sum" && return 0
  if dry; then
    note "would download $url to $path and check it (sha256 ${sum:0:12}…)"
    return 0
  fi
  have curl || fail "curl is missing." "programs are downloaded with it" "install curl and run this again"
  mkdir -p "$(dirname "$path")"
  fresh=$(mktemp "$path.XXXXXX")
  if ! curl --fail --silent --show-error --location --proto '=https' --retry 3 --connect-timeout 15 --max-time 600 \
    --output "$fresh" "$url"; then
    rm -f "$fresh"
    fail "$url cannot be downloaded." "curl's own words are above" "check the way to the internet, and run this again"
  fi
  if ! has_sum "$fresh" "$sum"; then
    rm -f "$fresh"
    fail "What came from $url is not what it should be." "its SHA-256 sum is another than the pinned one" \
      "try again; if it stays so, do not use it: somebody changed the file or the way to it"
  fi
  mv -f "$fresh" "$path"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Where this script's own copies of programs lie; they stand before those of the machine.
own_programs() {
  PATH="$STATE/bin:$PATH"
  export PATH
}

need_kubectl() {
  have kubectl && kubectl version --client >/dev/null 2>&1 && return 0
  step "kubectl $KUBECTL_VERSION"
  local path=$STATE/bin/kubectl
  fetch "https://dl.k8s.io/release/$KUBECTL_VERSION/bin/linux/$(architecture)/kubectl" "$(sum_of KUBECTL)" "$path"
  run chmod 0755 "$path"
}

need_helm() {
  local archive unpacked
  have helm && [[ $(helm version --short 2>/dev/null) == v4.* ]] && return 0
  step "Helm $HELM_VERSION (Helm 4 is needed)"
  archive=$STATE/downloads/helm-$HELM_VERSION.tar.gz
  fetch "https://get.helm.sh/helm-$HELM_VERSION-linux-$(architecture).tar.gz" "$(sum_of HELM)" "$archive"
  unpacked=$STATE/bin/.helm.new
  run mkdir -p "$STATE/bin" "$unpacked"
  run tar -xzf "$archive" -C "$unpacked" --strip-components=1 "linux-$(architecture)/helm"
  run mv -f "$unpacked/helm" "$STATE/bin/helm"
  run rm -rf "$unpacked"
}

# release NAME NAMESPACE CHART ARGUMENTS…: install or upgrade; what a killed run left half way is taken back first.
release() {
  local name=$1 namespace=$2 chart=$3 status
  shift 3
  status=$(helm status "$name" --namespace "$namespace" --output json 2>/dev/null | status_word || true)
  case $status in
    pending-install | uninstalling)
      note "an earlier installation of $name was interrupted; it begins anew"
      run helm uninstall "$name" --namespace "$namespace" --ignore-not-found --wait --timeout 3m
      ;;
    pending-upgrade | pending-rollback)
      note "an earlier upgrade of $name was interrupted; it is taken back first"
      run helm rollback "$name" --namespace "$namespace" --wait --timeout 5m
      ;;
  esac
  run helm upgrade --install "$name" "$chart" --namespace "$namespace" --create-namespace --wait --timeout 10m "$@" ||
    fail "Helm could not install $name." "its own words are above" \
      "kubectl -n $namespace get pods,events; mend what they name, and run this again"
}

# The first one of `helm status -o json` is the release's own.
status_word() { grep -o '"status": *"[a-z-]*"' | head -n 1 | cut -d '"' -f 4; }

# taken PORT: whether something answers there on this machine.
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

need_value() { [ $# -ge 2 ] && [ -n "$2" ] || misuse "$1 needs a value."; }

check_port() {
  [[ $2 =~ ^[0-9]{1,5}$ ]] && [ "$2" -ge 1 ] && [ "$2" -le 65535 ] || misuse "$1: “$2” is no port."
}

check_domain() {
  [[ $2 =~ ^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$ ]] || misuse "$1: “$2” is no domain (small letters, digits, - and .)."
}
