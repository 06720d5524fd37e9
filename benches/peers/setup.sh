#!/usr/bin/env bash
# Installs what quiche's build needs beside Rust, on Debian and its kin.
set -euo pipefail

missing=()
command -v cmake >/dev/null || missing+=(cmake)
command -v c++ >/dev/null || missing+=(g++)
compgen -G "/usr/lib/llvm-*/lib/libclang[.-][s0-9]*" >/dev/null || missing+=(libclang-dev)
[[ ${#missing[@]} -gt 0 ]] || { echo "nothing is missing"; exit 0; }
apt-get update
apt-get install -y "${missing[@]}"
