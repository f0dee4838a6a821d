#!/usr/bin/env bash
# A demo store of every engine, through the API: made when it is not there, waited for, and told with its address.
set -euo pipefail
# shellcheck source=scripts/setup/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/seed-stores.sh [options] [ENGINE …]

A store demo-ENGINE of each of these engines (without any: of each engine that is offered). What is there stays, what
failed is tried again, and all are waited for.

  --prefix PREFIX    of the names (demo)
  --timeout SECONDS  to wait for one store (900)
  --dry-run          only print what would be done
  --help

The API is STOREFLEET_URL with STOREFLEET_TOKEN, or the one of .storefleet/cluster.json or .storefleet/admin.json.
TEXT
}

PREFIX=demo
TIMEOUT=900
ENGINES=()

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --prefix) need_value "$@"; PREFIX=$2; shift ;;
      --timeout) need_value "$@"; TIMEOUT=$2; shift ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage; exit 0 ;;
      -*) misuse "“$1” is not known." ;;
      *) ENGINES+=("$1") ;;
    esac
    shift
  done
  [[ $PREFIX =~ ^[a-z][a-z0-9-]{0,19}$ ]] || misuse "--prefix: “$PREFIX” is no beginning of a name."
  [[ $TIMEOUT =~ ^[1-9][0-9]{0,4}$ ]] || misuse "--timeout: “$TIMEOUT” is no number of seconds."
  local engine
  for engine in "${ENGINES[@]}"; do
    [[ $engine =~ ^[a-z][a-z0-9-]{1,30}$ ]] || misuse "“$engine” is no name of an engine."
  done
}

# field NAME…: what lies there in the JSON on standard input; nothing where it does not.
field() {
  python3 -c '
import json, sys
found = json.load(sys.stdin)
for name in sys.argv[1:]:
    found = found[int(name)] if isinstance(found, list) else (found or {}).get(name)
print("" if found is None else found)
' "$@" 2>/dev/null || true
}

names_of_engines() { python3 -c 'import json, sys; print("\n".join(e["name"] for e in json.load(sys.stdin)["data"]))'; }

find_access() {
  local file
  URL=${STOREFLEET_URL:-} TOKEN=${STOREFLEET_TOKEN:-}
  for file in "$ROOT/.storefleet/cluster.json" "$ROOT/.storefleet/admin.json"; do
    [ -n "$URL" ] && [ -n "$TOKEN" ] && return 0
    [ -f "$file" ] || continue
    URL=$(field url <"$file") TOKEN=$(field token <"$file")
  done
  [ -n "$URL" ] && [ -n "$TOKEN" ] && return 0
  fail "No platform is known." "neither STOREFLEET_URL and STOREFLEET_TOKEN nor .storefleet/cluster.json say where it is" \
    "bring one up (make up, or make local-up build deploy), or set both variables"
  URL=http://nowhere.invalid TOKEN=none
}

# api METHOD PATH [BODY]: sets STATUS and BODY. The token stands in no argument, so no list of processes shows it.
api() {
  local answer arguments=(--silent --show-error --max-time 60 --request "$1" --write-out '\n%{http_code}'
    --header 'Content-Type: application/json' --header 'Accept: application/json')
  [ $# -ge 3 ] && arguments+=(--data-binary "$3")
  answer=$(curl "${arguments[@]}" --header @<(printf 'Authorization: Bearer %s\n' "$TOKEN") "$URL/api/v1$2") ||
    fail "The API does not answer at $URL." "curl's own words are above" "see whether the platform runs: storefleet status"
  STATUS=${answer##*$'\n'}
  BODY=${answer%$'\n'*}
}

refused() {
  fail "$1" "$(field detail <<<"$BODY") ($STATUS $(field code <<<"$BODY"))" \
    "docs/operations.md, “Error codes”, says what to do about $(field code <<<"$BODY")"
}

seed() {
  local engine=$1 name=$PREFIX-$1
  api GET "/stores/$name"
  case $STATUS in
    200)
      case $(field state <<<"$BODY") in
        ready) note "$name is there"; return 0 ;;
        failed)
          note "$name had failed: it is tried again"
          api POST "/stores/$name/retry"
          [ "$STATUS" = 202 ] || refused "$name cannot be tried again."
          ;;
        *) note "$name is $(field state <<<"$BODY")" ;;
      esac
      ;;
    404)
      note "$name is made"
      api POST /stores "{\"name\": \"$name\", \"engine\": \"$engine\"}"
      # Another run may have been quicker.
      [ "$STATUS" = 202 ] || [ "$(field code <<<"$BODY")" = name_taken ] || refused "$name cannot be made."
      ;;
    *) refused "$name cannot be looked at." ;;
  esac
}

await() {
  local name=$PREFIX-$1 deadline=$((SECONDS + TIMEOUT)) state
  while :; do
    api GET "/stores/$name"
    [ "$STATUS" = 200 ] || refused "$name cannot be looked at."
    state=$(field state <<<"$BODY")
    case $state in
      ready)
        printf '%-24s %s\n' "$name" "$(field url <<<"$BODY")"
        return 0
        ;;
      failed)
        fail "$name failed." "$(field failure detail <<<"$BODY")" "$(field failure next_step <<<"$BODY") Then run this again."
        ;;
    esac
    [ "$SECONDS" -lt "$deadline" ] || fail "$name is not ready after $TIMEOUT s." "it is still $state" \
      "look at its page, or at storefleet stores get $name; it goes on by itself"
    sleep 1
  done
}

main() {
  read_options "$@"
  have curl || fail "curl is missing." "the API is asked with it" "install curl"
  find_access
  if dry; then
    note "would ask $URL for its engines, and make and await a store $PREFIX-ENGINE of ${ENGINES[*]:-each of them}"
    return 0
  fi
  if [ ${#ENGINES[@]} -eq 0 ]; then
    api GET /engines
    [ "$STATUS" = 200 ] || refused "The engines cannot be listed."
    mapfile -t ENGINES < <(names_of_engines <<<"$BODY")
  fi
  step "Demo stores at $URL"
  local engine
  for engine in "${ENGINES[@]}"; do seed "$engine"; done
  for engine in "${ENGINES[@]}"; do await "$engine"; done
}

main "$@"
