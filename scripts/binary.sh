# To be sourced by scripts that have `here`, the root of the project, and `fail`.

# The server under test: the one that is named, else a release build, else a debug build.
binary() {
    local candidate
    for candidate in "${ROOKEEPER_BIN:-}" "${CARGO_TARGET_DIR:-$here/target}/release/rookeeper" \
        "${CARGO_TARGET_DIR:-$here/target}/debug/rookeeper"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    fail "no binary: set ROOKEEPER_BIN or build one"
}
