#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/ with the stable toolchain.
#
#   scripts/fuzz.sh                     every target for 5 seconds
#   scripts/fuzz.sh TARGET [SECONDS]    one target
#   scripts/fuzz.sh all SECONDS         every target for so long
#   scripts/fuzz.sh list                the targets' names
#   scripts/fuzz.sh build               build alone
#
# Starts from fuzz/seeds/TARGET and keeps what it finds in fuzz/corpus/TARGET; an input that fails is
# left in fuzz/artifacts/TARGET, and `scripts/fuzz.sh TARGET` fails. To run one input again:
#   FUZZ_INPUT=fuzz/artifacts/TARGET/crash-... scripts/fuzz.sh TARGET
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$root/target}/fuzz
mapfile -t targets < <(cd fuzz_targets && ls -- *.rs | sed 's/\.rs$//')

# libFuzzer needs the compiler's coverage pass, which stable has and hides. With --target these flags
# reach neither build scripts nor macros.
build() {
    # libFuzzer itself is C++.
    command -v c++ >/dev/null || apt_install g++
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target_dir RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo build --quiet --release --target "$host" --bins
}

run() {
    local name=$1 seconds=$2 log
    mkdir -p "corpus/$name" "artifacts/$name"
    log=$(mktemp)
    if "$target_dir/$host/release/$name" "corpus/$name" "seeds/$name" -max_total_time="$seconds" \
        -max_len=65536 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="artifacts/$name/" \
        -print_final_stats=1 >"$log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in" \
            "$seconds s, $(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -1) edges, clean"
        rm -f "$log"
    else
        grep -v '^#' "$log" | tail -40 >&2
        rm -f "$log"
        echo "fuzz $name: FAILED, input in fuzz/artifacts/$name" >&2
        return 1
    fi
}

case ${1:-all} in
    list)
        printf '%s\n' "${targets[@]}"
        ;;
    build)
        build
        ;;
    all)
        build
        failed=0
        for name in "${targets[@]}"; do
            run "$name" "${2:-5}" || failed=1
        done
        exit $failed
        ;;
    *)
        printf '%s\n' "${targets[@]}" | grep -qx -- "$1" || { echo "no target $1" >&2; exit 2; }
        build
        if [ -n "${FUZZ_INPUT:-}" ]; then
            exec "$target_dir/$host/release/$1" "$root/$FUZZ_INPUT"
        fi
        run "$1" "${2:-5}"
        ;;
esac
