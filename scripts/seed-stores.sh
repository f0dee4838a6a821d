#!/usr/bin/env bash
# Create a demo store of every engine through the API, wait for all of them, and print their URLs.
set -euo pipefail
# shellcheck source=scripts/setup/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/seed-stores.sh [options] [ENGINE …]

Create a store demo-ENGINE of each engine (by default of all that are available) and wait for all of
them. Existing stores are kept; failed ones are retried.

  --prefix PREFIX    prefix of the store names (demo)
  --timeout SECONDS  maximum wait for one store (900)
  --dry-run          print what would be done
  --help             print this help

The API is that of STOREFLEET_URL and STOREFLEET_TOKEN, or the one in .storefleet/cluster.json or
.storefleet/admin.json.
TEXT
}

PREFIX=demo
TIMEOUT=900
ENGINES=()

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --prefix) require_value "$@"; PREFIX=$2; shift ;;
      --timeout) require_value "$@"; TIMEOUT=$2; shift ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage; exit 0 ;;
      -*) fail_usage "The option “$1” is unknown." ;;
      *) ENGINES+=("$1") ;;
    esac
    shift
  done
  [[ $PREFIX =~ ^[a-z][a-z0-9-]{0,19}$ ]] ||
    fail_usage "--prefix: “$PREFIX” is not a valid prefix of a store name."
  [[ $TIMEOUT =~ ^[1-9][0-9]{0,4}$ ]] ||
    fail_usage "--timeout: “$TIMEOUT” is not a number of seconds."
  local engine
  for engine in "${ENGINES[@]}"; do
    [[ $engine =~ ^[a-z][a-z0-9-]{1,30}$ ]] ||
      fail_usage "“$engine” is not a valid name of an engine."
  done
}

# read_field NAME…: print the value at a path in the JSON on standard input, or nothing.
read_field() {
  python3 -c '
import json, sys
found = json.load(sys.stdin)
for name in sys.argv[1:]:
    found = found[int(name)] if isinstance(found, list) else (found or {}).get(name)
print("" if found is None else found)
' "$@" 2>/dev/null || true
}

read_engine_names() {
  python3 -c 'import json, sys; print("\n".join(e["name"] for e in json.load(sys.stdin)["data"]))'
}

find_access() {
  local file
  URL=${STOREFLEET_URL:-} TOKEN=${STOREFLEET_TOKEN:-}
  for file in "$ROOT/.storefleet/cluster.json" "$ROOT/.storefleet/admin.json"; do
    [ -n "$URL" ] && [ -n "$TOKEN" ] && return 0
    [ -f "$file" ] || continue
    URL=$(read_field url <"$file") TOKEN=$(read_field token <"$file")
  done
  [ -n "$URL" ] && [ -n "$TOKEN" ] && return 0
  fail "No platform was found." \
    "STOREFLEET_URL and STOREFLEET_TOKEN are not set, and .storefleet/cluster.json does not exist" \
    "start a platform (make up, or make local-up build deploy), or set both variables"
  URL=http://nowhere.invalid TOKEN=none
}

# call_api METHOD PATH [BODY]: set STATUS and BODY. The token is not an argument of curl, because
# arguments are visible in the list of processes.
call_api() {
  local response arguments=(--silent --show-error --max-time 60 --request "$1"
    --write-out '\n%{http_code}' --header 'Content-Type: application/json'
    --header 'Accept: application/json')
  [ $# -ge 3 ] && arguments+=(--data-binary "$3")
  response=$(curl "${arguments[@]}" --header @<(printf 'Authorization: Bearer %s\n' "$TOKEN") \
    "$URL/api/v1$2") ||
    fail "The API at $URL does not answer." "see curl's message above" \
      "check whether the platform runs: storefleet status"
  STATUS=${response##*$'\n'}
  BODY=${response%$'\n'*}
}

fail_rejected() {
  local code
  code=$(read_field code <<<"$BODY")
  fail "$1" "$(read_field detail <<<"$BODY") ($STATUS $code)" \
    "see docs/operations.md, “Error codes”, for $code"
}

create_store() {
  local engine=$1 name=$PREFIX-$1
  call_api GET "/stores/$name"
  case $STATUS in
    200)
      case $(read_field state <<<"$BODY") in
        ready) print_note "$name exists"; return 0 ;;
        failed)
          print_note "$name failed: it is retried"
          call_api POST "/stores/$name/retry"
          [ "$STATUS" = 202 ] || fail_rejected "$name cannot be retried."
          ;;
        *) print_note "$name is $(read_field state <<<"$BODY")" ;;
      esac
      ;;
    404)
      print_note "$name is created"
      call_api POST /stores "{\"name\": \"$name\", \"engine\": \"$engine\"}"
      # A concurrent run may have created it.
      [ "$STATUS" = 202 ] || [ "$(read_field code <<<"$BODY")" = name_taken ] ||
        fail_rejected "$name cannot be created."
      ;;
    *) fail_rejected "$name cannot be read." ;;
  esac
}

wait_for_store() {
  local name=$PREFIX-$1 deadline=$((SECONDS + TIMEOUT)) state
  while :; do
    call_api GET "/stores/$name"
    [ "$STATUS" = 200 ] || fail_rejected "$name cannot be read."
    state=$(read_field state <<<"$BODY")
    case $state in
      ready)
        printf '%-24s %s\n' "$name" "$(read_field url <<<"$BODY")"
        return 0
        ;;
      failed)
        fail "$name failed." "$(read_field failure detail <<<"$BODY")" \
          "$(read_field failure next <<<"$BODY") Then run this command again."
        ;;
    esac
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "$name is not ready after $TIMEOUT s." "it is still $state" \
        "run storefleet stores get $name; the operation continues"
    sleep 1
  done
}

main() {
  read_options "$@"
  has_program curl || fail "curl is not installed." "the API is called with it" "install curl"
  find_access
  if is_dry_run; then
    print_note "would call $URL, and create and await a store $PREFIX-ENGINE of" \
      "${ENGINES[*]:-each engine}"
    return 0
  fi
  if [ ${#ENGINES[@]} -eq 0 ]; then
    call_api GET /engines
    [ "$STATUS" = 200 ] || fail_rejected "The engines cannot be listed."
    mapfile -t ENGINES < <(read_engine_names <<<"$BODY")
  fi
  print_step "Demo stores at $URL"
  local engine
  for engine in "${ENGINES[@]}"; do create_store "$engine"; done
  for engine in "${ENGINES[@]}"; do wait_for_store "$engine"; done
}

main "$@"
