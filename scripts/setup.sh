#!/usr/bin/env bash
# Installs what building and testing need and the machine lacks; quick when nothing is missing.
set -euo pipefail

if ! command -v cargo >/dev/null; then
    echo "setup.sh: cargo is missing; install Rust 1.90 or later with rustup" >&2
    exit 1
fi
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
# The fuzzer's runtime is C++.
command -v c++ >/dev/null || missing+=(g++)
command -v git >/dev/null || missing+=(git)
if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
        "${missing[@]}"
fi
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
