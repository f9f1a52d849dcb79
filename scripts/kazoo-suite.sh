#!/usr/bin/env bash
# kazoo's own test suite, run against the Java server or against Rookeeper in its place.
#
#   scripts/kazoo-suite.sh java [pytest arguments ...]       the baseline
#   scripts/kazoo-suite.sh rookeeper [pytest arguments ...]  the same suite against our binary
#   scripts/kazoo-suite.sh compare                           what Java passes and Rookeeper does not
#
# kazoo's source package is fetched with pip and never committed. Each run leaves
# kazoo-<version>/results-<server>.txt under the tools directory: one line a test, "passed name",
# "failed name" or "skipped name". "compare" reads the two, prints the differences and fails on one that
# kazoo-differences.txt beside this script does not explain.
#
# kazoo starts its servers with the command `java ... QuorumPeerMain zoo.cfg`. For Rookeeper a command of
# that name stands first in the PATH: it drops the keys of TLS, SASL and reconfiguration from the configuration
# (kazoo always writes them; Rookeeper refuses to start on what it does not serve yet), hands over the -D
# properties and becomes `rookeeper server zoo.cfg`.
#
# kazoo's tests of SASL are left out for Rookeeper until it serves that: its client asks again without end
# where a server has no SASL, Java's included.
#
# One server is started instead of kazoo's three (ZOOKEEPER_CLUSTER_SIZE=1) unless the environment says
# otherwise.
#
# Environment
#   ROOKEEPER_TOOLS   where fetched tools live (default: .tools in the checkout)
#   ROOKEEPER_BIN     the binary (default: target/release/rookeeper, else target/debug/rookeeper)
#   KAZOO_TIMEOUT_S   limit of one test in seconds (default 120)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

version=2.11.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/scripts/binary.sh"
tools=${ROOKEEPER_TOOLS:-$here/.tools}
home=$tools/kazoo-$version

fail() {
    echo "kazoo-suite.sh: $*" >&2
    exit 1
}

install() {
    [ -f "$home/complete" ] && return
    mkdir -p "$tools"
    exec 8>"$tools/.kazoo.lock"
    flock 8
    [ -f "$home/complete" ] && return
    local work
    rm -rf "$home"
    mkdir -p "$home"
    work=$home
    # Debian's Python comes without what makes an environment of its own.
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv
    python3 -m venv "$work/venv"
    # kazoo.testing makes its certificates with calls that later releases of pyOpenSSL no longer have.
    "$work/venv/bin/pip" install -q --disable-pip-version-check setuptools wheel pytest pytest-timeout objgraph \
        gevent eventlet pyjks 'pyopenssl<24' 'cryptography<42' pure-sasl >&2
    (cd "$work" && venv/bin/pip download -q --disable-pip-version-check --no-deps --no-build-isolation \
        --no-binary :all: "kazoo==$version" >&2 && tar xzf "kazoo-$version.tar.gz" --strip-components=1 \
        --one-top-level=source)
    "$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e "$work/source" >&2
    touch "$work/complete"
    flock -u 8
}

# A `java` that is Rookeeper.
write_stand_in() {
    mkdir -p "$home/stand-in"
    cat >"$home/stand-in/java" <<'SH'
#!/usr/bin/env bash
set -euo pipefail
properties=()
config=
while [ $# -gt 0 ]; do
    case $1 in
        -cp) shift ;;
        -Djava.security.auth.login.config=*|-Dlog4j.configuration=*|-Djava.security.krb5.conf=*) ;;
        -D*) properties+=("$1") ;;
        *.QuorumPeerMain) shift; config=$1 ;;
    esac
    shift
done
own=${config%.cfg}-rookeeper.cfg
grep -Ev '^(secureClientPort|ssl\.|authProvider\.|admin\.serverPort|reconfigEnabled)' "$config" >"$own"
echo "admin.enableServer=false" >>"$own"
exec "$ROOKEEPER_BIN" server "$own" "${properties[@]}"
SH
    chmod +x "$home/stand-in/java"
}

# Turns pytest's XML into sorted lines of "outcome name".
write_results() {
    "$home/venv/bin/python" - "$1" "$2" <<'PY'
import sys, xml.etree.ElementTree as tree
lines = []
for case in tree.parse(sys.argv[1]).iter("testcase"):
    kinds = {child.tag for child in case}
    outcome = "skipped" if "skipped" in kinds else "failed" if kinds & {"failure", "error"} else "passed"
    lines.append(f"{outcome} {case.get('classname')}.{case.get('name')}")
with open(sys.argv[2], "w") as out:
    out.writelines(line + "\n" for line in sorted(set(lines), key=lambda line: line.split(" ", 1)[1]))
for outcome in ("passed", "failed", "skipped"):
    print(f"{outcome}: {sum(line.startswith(outcome) for line in lines)}")
PY
}

run_suite() {
    local server=$1
    shift
    export ZOOKEEPER_VERSION=3.9.5
    export ZOOKEEPER_CLUSTER_SIZE=${ZOOKEEPER_CLUSTER_SIZE:-1}
    export CI=1
    cd "$home/source"
    "$home/venv/bin/python" -m pytest -q -p no:cacheprovider --timeout "${KAZOO_TIMEOUT_S:-120}" \
        --junitxml "$home/results-$server.xml" kazoo/tests "$@" >"$home/output-$server.txt" 2>&1 || true
    tail -n 3 "$home/output-$server.txt"
    write_results "$home/results-$server.xml" "$home/results-$server.txt"
    echo "results: $home/results-$server.txt, output: $home/output-$server.txt"
}

compare() {
    local explained=$here/scripts/kazoo-differences.txt unexplained=0 name
    [ -f "$home/results-java.txt" ] && [ -f "$home/results-rookeeper.txt" ] || fail "run java and rookeeper first"
    while read -r name; do
        if reason=$(grep -F -- "$name " "$explained" 2>/dev/null); then
            echo "explained: $reason"
        else
            echo "UNEXPLAINED: passes against Java, not against Rookeeper: $name"
            unexplained=1
        fi
    done < <(comm -23 <(sed -n 's/^passed //p' "$home/results-java.txt" | sort) \
        <(sed -n 's/^passed //p' "$home/results-rookeeper.txt" | sort))
    comm -13 <(sed -n 's/^passed //p' "$home/results-java.txt" | sort) \
        <(sed -n 's/^passed //p' "$home/results-rookeeper.txt" | sort) | sed 's/^/passes only against Rookeeper: /'
    echo "Java passes $(grep -c '^passed' "$home/results-java.txt")," \
        "Rookeeper $(grep -c '^passed' "$home/results-rookeeper.txt")"
    return $unexplained
}

[ $# -ge 1 ] || fail "usage: java | rookeeper | compare"
command=$1
shift
case $command in
    install)
        install
        ;;
    java)
        install
        ZOOKEEPER_CLASSPATH=$("$here/scripts/java-zookeeper.sh" classpath)
        export ZOOKEEPER_CLASSPATH
        export ZOOKEEPER_PORT_OFFSET=${ZOOKEEPER_PORT_OFFSET:-21500}
        run_suite java "$@"
        ;;
    rookeeper)
        install
        write_stand_in
        ROOKEEPER_BIN=$(binary)
        export ROOKEEPER_BIN
        export PATH="$home/stand-in:$PATH"
        export ZOOKEEPER_CLASSPATH=none
        export ZOOKEEPER_PORT_OFFSET=${ZOOKEEPER_PORT_OFFSET:-21600}
        run_suite rookeeper --ignore kazoo/tests/test_sasl.py "$@"
        ;;
    compare)
        compare
        ;;
    *)
        fail "unknown subcommand $command"
        ;;
esac
