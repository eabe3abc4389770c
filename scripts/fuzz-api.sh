#!/usr/bin/env bash
# Hold a running server against its own description: schemathesis makes requests from /openapi.json, valid ones and others,
# and no answer may be a fault of the server, or one that the description does not know.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
tools="$target/schemathesis"
if [ ! -x "$tools/bin/st" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet 'schemathesis==4.32.5'
fi

data="$(mktemp -d)"
log="$data/server.log"
# Without a home there is no file of the command line to overwrite.
env -u HOME -u XDG_CONFIG_HOME "$target/release/picloud" serve --dev --address 127.0.0.1:0 --data-dir "$data/data" >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$data"' EXIT

url=""
for _ in $(seq 300); do
    url="$(grep -o 'http://127.0.0.1:[0-9]*' "$log" | head -n 1 || true)"
    [ -n "$url" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.2
done

curl --fail --silent --show-error --output /dev/null -X PUT -H 'content-type: text/plain' --data-binary '"hello"' \
    "$url/api/v1/apps/default/scripts/greet"

PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=scripts SCHEMATHESIS_HOOKS=fuzz_api "$tools/bin/st" --config-file scripts/fuzz-api.toml run "$url/openapi.json" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-30}" --request-timeout 30 "$@"
