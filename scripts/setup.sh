#!/usr/bin/env bash
# Installs what the machine lacks; quick when nothing is missing.
#
#   scripts/setup.sh build    for the server: a C compiler
#   scripts/setup.sh          for the tests too: git, and Rust's formatter and linter
#
# What single steps need they install themselves: scripts/fuzz.sh a C++ compiler, and
# scripts/java-zookeeper.sh Java and Maven.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

if ! command -v cargo >/dev/null; then
    echo "setup.sh: cargo is missing; install Rust 1.90 or later with rustup" >&2
    exit 1
fi
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
[ "${1:-}" = build ] || command -v git >/dev/null || missing+=(git)
[ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
[ "${1:-}" != build ] || exit 0

# rustup's minimal profile has neither; a toolchain from elsewhere brings them in its own way.
for tool in fmt:rustfmt clippy:clippy; do
    cargo "${tool%:*}" --version >/dev/null 2>&1 && continue
    if ! command -v rustup >/dev/null; then
        echo "setup.sh: cargo ${tool%:*} is missing, and there is no rustup to add it" >&2
        exit 1
    fi
    rustup component add "${tool#*:}"
done
