#!/usr/bin/env bash
# Rookeeper beside Java's ZooKeeper on this machine: throughput, watches, sessions, memory, starts;
# and ensembles of three members each (sections ensemble, ensemble-start, ensemble-rejoin), of both
# kinds in ensemble-mixed.
#
#   scripts/compare.sh [options of `rookeeper bench compare`, e.g. --sections start,idle --rounds 5]
#
# Java runs as its own zkServer.sh starts it: a heap of 1000 MB, the JVM's own choice of collector.
# The table goes to standard output, each figure as it is measured to standard error. Takes about
# half an hour; nothing else should run meanwhile.
#
# Environment
#   ROOKEEPER         the binary (default: built here, target/release/rookeeper)
#   JAVA_HEAP, JAVA_FLAGS, ROOKEEPER_TOOLS   see scripts/java-zookeeper.sh
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
if [ -z "${ROOKEEPER:-}" ]; then
    (cd "$root" && cargo build --quiet --release -p rookeeper)
    ROOKEEPER=$target/release/rookeeper
fi
export JAVA_HEAP=${JAVA_HEAP:-1000m}
export JAVA_FLAGS=${JAVA_FLAGS-}
"$root/scripts/java-zookeeper.sh" install
exec "$ROOKEEPER" bench compare --base "$root/scripts/java-zookeeper.sh server" \
    --test "$ROOKEEPER server" --data-dir "$target/compare" "$@"
