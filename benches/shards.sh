#!/usr/bin/env bash
# Does an endpoint with two shards serve more than one with one? Full handshakes with an RSA-4096 certificate, which cost the server far more
# than the client, against a server with one shard and with two in turn. Prints handshakes per second, CPU seconds of the server, and the
# ratio of the medians. Wants two cores that have nothing else to do: the server's CPU seconds tell whether it had them.
#
#   benches/shards.sh [ROUNDS] [SECONDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly rounds=${1:-5} seconds=${2:-4}
cargo build --quiet --release -p quic-cli
readonly quic=target/release/quic
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
openssl req -x509 -newkey rsa:4096 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 \
    -subj /CN=localhost -addext 'subjectAltName=DNS:localhost' 2>"$work/openssl"

# field NAME FILE: a number of a report in JSON.
field() { grep -o "\"$1\":[0-9.]*" "$2" | head -1 | cut -d: -f2; }

# measure SHARDS: handshakes per second.
measure() {
    "$quic" perf server --listen 127.0.0.1:0 --shards "$1" --cert "$work/cert.pem" --key "$work/key.pem" --json >"$work/server" &
    server=$!
    until grep -q 'listening on' "$work/server"; do sleep 0.05; done
    local address
    address=$(grep -o '127.0.0.1:[0-9]*' "$work/server" | head -1)
    "$quic" perf client "$address" --insecure handshake --duration "${seconds}s" --at-once 16 --json >"$work/client"
    kill -INT "$server"
    wait "$server" || true
    server=
    local rate
    rate=$(awk -v n="$(field connections "$work/client")" -v s="$(field seconds "$work/client")" 'BEGIN { printf "%.1f", n / s }')
    echo "$1 shards: $rate handshakes/s, server $(field cpu_seconds "$work/server") CPU s in $seconds s" >&2
    echo "$rate" >>"$work/rates.$1"
}

median() { sort -n "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

for _ in $(seq "$rounds"); do
    measure 1
    measure 2
done
awk -v one="$(median "$work/rates.1")" -v two="$(median "$work/rates.2")" \
    'BEGIN { printf "medians: %s with one shard, %s with two, ratio %.2f\n", one, two, two / one }'
