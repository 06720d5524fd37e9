#!/bin/sh
# Instructions of quic-proto and quinn-proto for both ends of a workload together, under callgrind; of quic-proto as Google QUIC, in
# handshakes of rustls alone, too. The difference of two sizes removes what the start costs. Arguments: bulk (the default), rr or handshake,
# and where to keep the profile of our longer run, for callgrind_annotate.
set -eu
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null; then
    echo "valgrind is not installed; on Debian and Ubuntu: sudo apt-get install valgrind" >&2
    exit 1
fi
workload=${1:-bulk}
profile=${2:-/dev/null}
impls="ours quinn"
case $workload in
bulk) unit=packet size=bytes small=8388608 large=33554432 impls="ours quinn q044" ;;
rr) unit=request size=count small=4000 large=16000 impls="ours quinn q044" ;;
handshake) unit=handshake size=count small=20 large=80 impls="ours quinn q044 rustls" ;;
*)
    echo "usage: benches/instructions.sh [bulk|rr|handshake] [profile]" >&2
    exit 2
    ;;
esac
cargo build --release --quiet -p benches --bin sansio
target=${CARGO_TARGET_DIR:-target}
# Callgrind counts each step of a "rep movsb" as an instruction; with these settings the C library copies with vectors instead.
export GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000

# Prints the instructions of a run by $1 of size $2, with a profile in $3.
count() {
    valgrind --tool=callgrind --cache-sim=no --callgrind-out-file="$3" \
        "$target/release/sansio" "$workload" --rounds 1 "--$size" "$2" --only "$1" --json 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

units=$((large - small))
# A datagram of 1200 bytes carries 1171 bytes of the stream: 29 are header, frame and tag.
if [ "$workload" = bulk ]; then units=$((units / 1171)); fi
for impl in $impls; do
    to=/dev/null
    if [ "$impl" = ours ]; then to=$profile; fi
    echo "$impl $(count "$impl" $small /dev/null) $(count "$impl" $large "$to")"
done | awk -v units="$units" -v unit="$unit" '{
        each[$1] = ($3 - $2) / units
        printf "%-7s %9.0f instructions/%s\n", $1, each[$1], unit
    }
    END {
        if ("quinn" in each) printf "ours to quinn  %5.2f\n", each["ours"] / each["quinn"]
        if ("q044" in each) printf "q044 to ours   %5.2f\n", each["q044"] / each["ours"]
        if ("rustls" in each) printf "ours to rustls %5.2f\n", each["ours"] / each["rustls"]
    }'
