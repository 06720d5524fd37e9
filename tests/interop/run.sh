#!/usr/bin/env bash
# Files between the `quic` command and aioquic, in both roles: plain, with a Retry, and under loss. Hashes are compared.
#
#   tests/interop/run.sh            everything
#   KEEP=1 tests/interop/run.sh     leave the files and logs in target/interop/ also after success
#
# Fails, and never skips, when the peer cannot be installed: a run that tested nothing must not be green.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly here=tests/interop
readonly venv=target/interop-venv
readonly work=target/interop
readonly limit=180 # seconds for one transfer
readonly loss=0.05 # of the datagrams, each way

passed=0
failed=0
server=

say() { printf '%s\n' "$*"; }
die() { say "interop: $*" >&2; exit 1; }

stop_server() {
    [[ -n $server ]] || return 0
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}
trap stop_server EXIT

# The peer, in an environment of its own; made anew when the pins change.
install_peer() {
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null || die "needs $python (3.10 or later), or PYTHON=… that names one"
    if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
        rm -rf "$venv"
        "$python" -m venv "$venv" || die "cannot make a virtual environment; is the venv module of $python installed?"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" ||
            die "cannot install aioquic; is the package index within reach?"
        cp "$here/requirements.txt" "$venv/installed.txt"
    fi
    "$venv/bin/python" -c 'import aioquic' || die "aioquic is installed and cannot be imported"
}

make_files() {
    rm -rf "$work"
    mkdir -p "$work/root"
    : >"$work/root/0B"
    printf 'x' >"$work/root/1B"
    head -c $((1 << 20)) /dev/urandom >"$work/root/1MiB"
    head -c $((20 << 20)) /dev/urandom >"$work/root/20MiB"
    sizes=(0B 1B 1MiB 20MiB)
    small=()
    local i
    for i in $(seq -w 1 100); do
        head -c $((10#$i * 41)) /dev/urandom >"$work/root/small-$i"
        small+=("small-$i")
    done
    (cd "$work/root" && sha256sum -- *) >"$work/sums"
}

# start_server LOG COMMAND…: runs it and sets `port` from its line "listening on …", whose last number is the port.
start_server() {
    local log=$1 line='' _
    shift
    "$@" >"$log" 2>"$log.err" &
    server=$!
    for _ in $(seq 1 100); do
        line=$(grep -m1 'listening on' "$log" "$log.err" -h || true)
        [[ -z $line ]] || break
        kill -0 "$server" 2>/dev/null || { sed 's/^/    /' "$log" "$log.err" >&2; say "the server ended at once: $*" >&2; return 1; }
        sleep 0.1
    done
    [[ $line =~ ([0-9]+)[^0-9]*$ ]] || { say "the server did not say where it listens: $*" >&2; return 1; }
    port=${BASH_REMATCH[1]}
}

# verify OUT FILE…: all the files, and no byte more or less.
verify() {
    local out=$1 file
    shift
    for file in "$@"; do grep -E "  $file\$" "$work/sums"; done >"$out.sums"
    (cd "$out" && sha256sum --quiet --check "../$(basename "$out").sums")
}

# check NAME SERVER CLIENT FILE…: serves with the one function, fetches with the other, compares.
check() {
    local name=$1 serve=$2 fetch=$3 out begun=$SECONDS urls=() file status=ok
    shift 3
    out=$work/${name//[^a-z0-9A-Z]/_}
    mkdir -p "$out"
    # shellcheck disable=SC2086 # the roles are words: a function and its options
    if start_server "$out.server" ${serve}; then
        for file in "$@"; do urls+=("https://localhost:$port/$file"); done
        ${fetch} "$out" "${urls[@]}" >"$out.client" 2>&1 || status=failed
        [[ $status == ok ]] && { verify "$out" "$@" >>"$out.client" 2>&1 || status='failed (other bytes)'; }
    else
        status=failed
    fi
    stop_server
    if [[ $status == ok ]]; then
        passed=$((passed + 1))
        rm -rf "$out"
    else
        failed=$((failed + 1))
        { tail -n 5 "$out.client" "$out.server.err" 2>/dev/null || true; } | sed "s/^/    /"
    fi
    say "$name ... $status ($((SECONDS - begun)) s)"
}

peer=("$venv/bin/python" "$here/aioquic_peer.py")
ca=$work/certs/ca.pem
# The commands replace the subshell that a background job runs in, so that stop_server ends the server itself.
ours_serves() { exec "$quic" serve --listen 127.0.0.1:0 --root "$work/root" --cert "$work/certs/cert.pem" --key "$work/certs/key.pem" "$@"; }
theirs_serves() { exec "${peer[@]}" server --root "$work/root" --cert "$work/certs/cert.pem" --key "$work/certs/key.pem" "$@"; }
ours_fetches() { local out=$1; shift; timeout "$limit" "$quic" get "$@" -o "$out" --ca "$ca" --connect "127.0.0.1:$port"; }
ours_fetches_insecurely() { local out=$1; shift; timeout "$limit" "$quic" get "$@" -o "$out" --insecure --connect "127.0.0.1:$port"; }
theirs_fetches() { local out=$1; shift; "${peer[@]}" client -o "$out" --ca "$ca" --timeout "$limit" "$@"; }
theirs_fetches_retried() { theirs_fetches "$@" --retry; }
theirs_fetches_lossy() { theirs_fetches "$@" --loss "$loss"; }

install_peer
if [[ -z ${QUIC:-} ]]; then
    cargo build --quiet --release -p quic-cli
    QUIC=target/release/quic
fi
readonly quic=$QUIC
make_files
"${peer[@]}" cert --out "$work/certs"

say "serving with aioquic, fetching with quic"
check "aioquic serves: 0 B, 1 B, 1 MiB, 20 MiB" theirs_serves ours_fetches "${sizes[@]}"
check "aioquic serves: 100 small files" theirs_serves ours_fetches "${small[@]}"
check "aioquic serves: certificate not checked" theirs_serves ours_fetches_insecurely 1B
check "aioquic serves with Retry" "theirs_serves --retry" ours_fetches "${sizes[@]}"
check "aioquic serves under loss: 0 B, 1 B, 1 MiB, 20 MiB" "theirs_serves --loss $loss" ours_fetches "${sizes[@]}"
check "aioquic serves under loss: 100 small files" "theirs_serves --loss $loss" ours_fetches "${small[@]}"
check "aioquic serves under loss with Retry" "theirs_serves --retry --loss $loss" ours_fetches "${small[@]}"

say "serving with quic, fetching with aioquic"
check "quic serves: 0 B, 1 B, 1 MiB, 20 MiB" ours_serves theirs_fetches "${sizes[@]}"
check "quic serves: 100 small files" ours_serves theirs_fetches "${small[@]}"
check "quic serves with Retry" "ours_serves --retry" theirs_fetches_retried "${sizes[@]}"
check "quic serves under loss: 0 B, 1 B, 1 MiB, 20 MiB" ours_serves theirs_fetches_lossy "${sizes[@]}"
check "quic serves under loss: 100 small files" ours_serves theirs_fetches_lossy "${small[@]}"

say "interop with aioquic: $passed passed, $failed failed"
[[ $failed -eq 0 ]]
[[ -n ${KEEP:-} ]] || rm -rf "$work"
