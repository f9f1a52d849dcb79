#!/usr/bin/env bash
# Everything that a change has to pass. Runs every step even where one fails, and ends with a line
# "N passed, N failed" that counts tests, and each step without tests as one.
#
#   scripts/test.sh [step ...]      all steps, or those named: format lint unit simulate
#                                   mutations fuzz interop
#   scripts/test.sh matrix          every mix of Java and Rookeeper in one ensemble under every fault,
#                                   and 20,000 sessions: some minutes, not part of the usual steps
#
# Environment
#   JAVA=no          waive the comparison with a Java server; the summary says so
#   FUZZ_SECONDS     seconds for each fuzz target (default 5)
#   SIM_SEEDS        seeds of three and five members in the simulator (default 300)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

steps=("$@")
[ $# -gt 0 ] || steps=(format lint unit simulate mutations fuzz interop)
passed=0
failed=0
summary=()

run_format() { cargo fmt --all --check; }

run_lint() {
    cargo clippy --workspace --all-targets --locked -- -D warnings \
        && cargo fmt --manifest-path fuzz/Cargo.toml --check
}

# The tidy test is one of the workspace.
run_unit() { cargo test --workspace --exclude rookeeper-interop --locked --no-fail-fast; }

run_simulate() { make --silent simulate SEEDS="${SIM_SEEDS:-300}" JOBS="$(nproc)"; }

run_mutations() { make --silent mutations; }

run_fuzz() { scripts/fuzz.sh all "${FUZZ_SECONDS:-5}"; }

# The binaries in the tests' own profile, so that no test builds them while others wait.
run_interop() {
    scripts/java-zookeeper.sh install \
        && cargo build -p rookeeper --locked \
        && cargo build -p rookeeper-server --example short_epochs --locked \
        && cargo test -p rookeeper-interop --locked --no-fail-fast
}

run_matrix() {
    cargo build -p rookeeper --locked \
        && cargo test -p rookeeper-interop --locked --no-fail-fast --test ensemble_mixed \
            --test ensemble_setups --test ensemble_reconfig --test ensemble_sessions -- \
            --include-ignored
}

# Adds up cargo's "test result" lines of a step's output; a step without tests counts as one.
count() {
    local log=$1 outcome=$2 sums tests_passed tests_failed
    sums=$(awk '/^test result:/ { for (i = 1; i < NF; i++) {
            if ($(i + 1) == "passed;") p += $i
            if ($(i + 1) == "failed;") f += $i
        } } END { print p + 0, f + 0 }' "$log")
    read -r tests_passed tests_failed <<<"$sums"
    if [ "$outcome" -eq 0 ]; then
        [ "$tests_passed" -gt 0 ] || tests_passed=1
    elif [ "$tests_failed" -eq 0 ]; then
        tests_failed=1
    fi
    passed=$((passed + tests_passed))
    failed=$((failed + tests_failed))
    counted="$tests_passed passed, $tests_failed failed"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for step in "${steps[@]}"; do
    if ! declare -F "run_$step" >/dev/null; then
        echo "test.sh: no step is called $step" >&2
        exit 2
    fi
    if [[ $step =~ ^(interop|matrix)$ ]] && [ "${JAVA:-}" = no ]; then
        summary+=("$step: WAIVED by JAVA=no, nothing was compared with a Java server")
        continue
    fi
    echo "== $step"
    began=$SECONDS
    "run_$step" 2>&1 | tee "$log"
    count "$log" "${PIPESTATUS[0]}"
    summary+=("$step: $counted in $((SECONDS - began)) s")
done

echo "== summary"
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
