#!/bin/sh
# Instructions per packet of quic-proto and quinn-proto, for both ends of a transfer together, under callgrind. The difference of two
# sizes removes what the start costs. Optional argument: where to keep the profile of our longer run, for callgrind_annotate.
set -eu
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null; then
    echo "valgrind is not installed; on Debian and Ubuntu: sudo apt-get install valgrind" >&2
    exit 1
fi
cargo build --release --quiet -p benches --bin sansio
target=${CARGO_TARGET_DIR:-target}
# Callgrind counts each step of a "rep movsb" as an instruction; with these settings the C library copies with vectors instead.
export GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000

# Prints "instructions packets" of a transfer by $1 of $2 bytes, with a profile in $3.
count() {
    valgrind --tool=callgrind --callgrind-out-file="$3" "$target/release/sansio" bulk --rounds 1 --bytes "$2" --only "$1" --json 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/I \1/p; s/.*"datagrams":\([0-9]*\).*/P \1/p' |
        sort | cut -d' ' -f2 | tr '\n' ' '
}

profile=${1:-/dev/null}
for impl in ours quinn; do
    to=/dev/null
    if [ $impl = ours ]; then to=$profile; fi
    echo "$impl $(count $impl 8388608 /dev/null) $(count $impl 33554432 "$to")"
done | awk '{ each[$1] = ($4 - $2) / ($5 - $3); printf "%-6s %6.0f instructions/packet\n", $1, each[$1] }
    END { printf "ratio  %6.2f\n", each["ours"] / each["quinn"] }'
