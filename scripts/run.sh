#!/bin/sh
# Starts a server for development, deploys the examples, prints what to try, and stays until it is interrupted.
set -eu

picloud="${CARGO_TARGET_DIR:-target}/release/picloud"
address="${ADDRESS:-127.0.0.1:8080}"
export PICLOUD_SERVER="http://$address"

if "$picloud" scripts >/dev/null 2>&1; then
    echo "something answers on $address already; stop it, or choose another: make run ADDRESS=127.0.0.1:8081" >&2
    exit 1
fi
# The temperature of the processor, for examples/thermometer.rhai, where there is a sensor.
sensor=/sys/class/thermal/thermal_zone0
[ ! -r "$sensor/temp" ] || set -- --fs "cpu=$sensor"
"$picloud" serve --dev --address "$address" --data-dir "${DATA_DIR:-./data}" "$@" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server"' INT TERM

# The first start compiles the sandbox's code, which takes some seconds.
tries=0
until "$picloud" scripts >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || { wait "$server"; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "the server does not answer on $address" >&2; kill "$server"; exit 1; }
    sleep 0.2
done

"$picloud" deploy examples
# Only if there is none: a secret that somebody has set is theirs.
"$picloud" secrets -o json | grep -q '"name": "github"' ||
    printf %s "not a secret, an example" | "$picloud" secrets set github
for file in examples/triggers/*.json; do
    "$picloud" triggers set "$(basename "$file" .json)" "@$file"
done
echo
echo "Try:"
for file in examples/*.rhai; do
    case $file in *_test.rhai) continue ;; esac
    printf "    curl -i %-48s # more in %s\n" "$PICLOUD_SERVER/default/$(basename "$file" .rhai)" "$file"
done
echo
echo "Upload your own:"
echo "    echo 'fn handle(req) { \"Hello, \" + req.query.name }' > greet.rhai"
echo "    $picloud deploy greet.rhai"
echo "    curl -i '$PICLOUD_SERVER/default/greet?name=you'"
echo
echo "Stop with Ctrl-C."
wait "$server"
