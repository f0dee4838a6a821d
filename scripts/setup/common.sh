# shellcheck shell=bash
# Functions that the set-up scripts share: messages, dry runs, verified downloads, and the
# installation of programs and Helm releases. Each converges from the state that an interrupted run
# left.

PROGRAM=$(basename "$0")
DRY_RUN=${DRY_RUN:-no}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STATE=${STOREFLEET_CLUSTER_STATE:-$ROOT/.storefleet/cluster}

# fail WHAT WHY NEXT: print an error and exit with status 1. A dry run prints it and continues.
fail() {
  printf '%s: %s\n  Why:  %s\n  Next: %s\n' "$PROGRAM" "$1" "$2" "$3" >&2
  [ "$DRY_RUN" = yes ] && return 0
  exit 1
}

# Wrong usage does not depend on the state of the machine, so it ends a dry run, too.
fail_usage() {
  printf '%s: %s\n  Next: %s --help\n' "$PROGRAM" "$1" "$PROGRAM" >&2
  exit 2
}

print_step() { printf '==> %s\n' "$*"; }
print_note() { printf '    %s\n' "$*"; }
is_dry_run() { [ "$DRY_RUN" = yes ]; }
has_program() { command -v "$1" >/dev/null 2>&1; }

# run COMMAND…: run a command that changes something; a dry run only prints it.
run() {
  if is_dry_run; then
    printf '    would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# write_file PATH MODE: write standard input to a file atomically; equal content is not rewritten.
write_file() {
  local path=$1 mode=$2 temporary content
  content=$(cat)
  if is_dry_run; then
    print_note "would write $path (mode $mode)"
    return 0
  fi
  if [ -f "$path" ] && [ "$(cat "$path")" = "$content" ]; then
    chmod "$mode" "$path"
    return 0
  fi
  mkdir -p "$(dirname "$path")"
  temporary=$(mktemp "$path.XXXXXX")
  printf '%s\n' "$content" >"$temporary"
  chmod "$mode" "$temporary"
  mv -f "$temporary" "$path"
}

get_architecture() {
  case $(uname -m) in
    x86_64 | amd64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    *)
      fail "The architecture $(uname -m) is not supported." \
        "the pinned programs exist for x86_64 and aarch64" "use a machine with one of these"
      ;;
  esac
}

# get_checksum NAME: print the pinned SHA-256 sum of a program for this machine.
get_checksum() {
  local variable
  variable="$1_SHA256_$(get_architecture | tr '[:lower:]' '[:upper:]')"
  printf '%s' "${!variable}"
}

has_checksum() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]; }

# download URL SHA256 PATH: download a file, verify it, and only then move it to its path.
download() {
  local url=$1 checksum=$2 path=$3 temporary
  has_checksum "$path" "$checksum" && return 0
  if is_dry_run; then
    print_note "would download $url to $path and verify it (sha256 ${checksum:0:12}…)"
    return 0
  fi
  has_program curl || fail "curl is not installed." "programs are downloaded with it" \
    "install curl, then run this command again"
  mkdir -p "$(dirname "$path")"
  temporary=$(mktemp "$path.XXXXXX")
  if ! curl --fail --silent --show-error --location --proto '=https' --retry 3 \
    --connect-timeout 15 --max-time 600 --output "$temporary" "$url"; then
    rm -f "$temporary"
    fail "The download of $url failed." "see curl's message above" \
      "check the internet connection, then run this command again"
  fi
  if ! has_checksum "$temporary" "$checksum"; then
    rm -f "$temporary"
    fail "The file from $url does not match its checksum." \
      "its SHA-256 sum differs from the pinned one" \
      "try again; if it persists, do not use the file: it was changed on the server or in transit"
  fi
  mv -f "$temporary" "$path"
}

# Put the scripts' own copies of programs before those of the machine.
use_own_programs() {
  PATH="$STATE/bin:$PATH"
  export PATH
}

ensure_kubectl() {
  has_program kubectl && kubectl version --client >/dev/null 2>&1 && return 0
  print_step "kubectl $KUBECTL_VERSION"
  local path=$STATE/bin/kubectl
  download "https://dl.k8s.io/release/$KUBECTL_VERSION/bin/linux/$(get_architecture)/kubectl" \
    "$(get_checksum KUBECTL)" "$path"
  run chmod 0755 "$path"
}

ensure_helm() {
  local archive unpacked
  has_program helm && [[ $(helm version --short 2>/dev/null) == v4.* ]] && return 0
  print_step "Helm $HELM_VERSION (Helm 4 is required)"
  archive=$STATE/downloads/helm-$HELM_VERSION.tar.gz
  download "https://get.helm.sh/helm-$HELM_VERSION-linux-$(get_architecture).tar.gz" \
    "$(get_checksum HELM)" "$archive"
  unpacked=$STATE/bin/.helm.new
  run mkdir -p "$STATE/bin" "$unpacked"
  run tar -xzf "$archive" -C "$unpacked" --strip-components=1 "linux-$(get_architecture)/helm"
  run mv -f "$unpacked/helm" "$STATE/bin/helm"
  run rm -rf "$unpacked"
}

# install_release NAME NAMESPACE CHART ARGUMENTS…: install or upgrade a Helm release; first undo
# what an interrupted run left pending, because Helm rejects any other action on such a release.
install_release() {
  local name=$1 namespace=$2 chart=$3 status
  shift 3
  status=$(helm status "$name" --namespace "$namespace" --output json 2>/dev/null |
    parse_release_status || true)
  case $status in
    pending-install | uninstalling)
      print_note "the installation of $name was interrupted: it is repeated from the start"
      run helm uninstall "$name" --namespace "$namespace" --ignore-not-found --wait --timeout 3m
      ;;
    pending-upgrade | pending-rollback)
      print_note "the upgrade of $name was interrupted: it is rolled back first"
      run helm rollback "$name" --namespace "$namespace" --wait --timeout 5m
      ;;
  esac
  run helm upgrade --install "$name" "$chart" --namespace "$namespace" --create-namespace --wait \
    --timeout 10m "$@" ||
    fail "Helm cannot install $name." "see Helm's message above" \
      "run kubectl -n $namespace get pods,events; fix the cause, then run this command again"
}

# The first status in `helm status -o json` is that of the release itself.
parse_release_status() {
  grep -o '"status": *"[a-z-]*"' | head -n 1 | cut -d '"' -f 4
}

# is_port_taken PORT: whether a program on this machine accepts connections there.
is_port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

require_value() { [ $# -ge 2 ] && [ -n "$2" ] || fail_usage "$1 needs a value."; }

check_port() {
  [[ $2 =~ ^[0-9]{1,5}$ ]] && [ "$2" -ge 1 ] && [ "$2" -le 65535 ] ||
    fail_usage "$1: “$2” is not a valid port."
}

check_domain() {
  [[ $2 =~ ^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$ ]] ||
    fail_usage "$1: “$2” is not a valid domain (lowercase letters, digits, hyphens and dots)."
}
