#!/usr/bin/env bash
# Apache Curator's own tests (framework and recipes), run against the Java server or against Rookeeper.
#
#   scripts/curator-suite.sh java [options of JUnit's launcher ...]       the baseline
#   scripts/curator-suite.sh rookeeper [options of JUnit's launcher ...]  the same tests, our binary
#   scripts/curator-suite.sh compare                what Java passes and Rookeeper does not
#
# Without options all tests run (some 40 minutes); a few are chosen with `-c class` or `-m class#method`.
#
# The published test jars are fetched with Maven and never committed. Curator's tests start Java's server
# inside their own JVM; scripts/curator/ has the class that starts processes in its place, for the
# baseline too. Each run leaves curator-<version>/results-<server>.txt under the tools directory: one line
# a test, "passed name", "failed name" or "skipped name". "compare" reads the two and fails on a difference
# that curator-differences.txt beside this script does not explain.
#
# Environment
#   CURATOR_MEMBERS       3 puts an ensemble of three in the place of each single server (default 1);
#                         tests of ensembles start their own in any case
#   CURATOR_TIMEOUT_S     limit of a whole run in seconds (default 5400)
#   ROOKEEPER_TOOLS       where fetched tools live (default: .tools in the checkout)
#   ROOKEEPER_BIN         the binary (default: target/release/rookeeper, else target/debug/rookeeper)
set -euo pipefail

version=5.7.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/scripts/binary.sh"
tools=${ROOKEEPER_TOOLS:-$here/.tools}
home=$tools/curator-$version
source=$here/scripts/curator/ZooKeeperServerEmbeddedAdapter.java

fail() {
    echo "curator-suite.sh: $*" >&2
    exit 1
}

dependency() {
    echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version>${4:+<classifier>$4</classifier>}</dependency>"
}

write_pom() {
    cat >"$1/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>rookeeper.tools</groupId>
  <artifactId>curator</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    $(dependency org.apache.curator curator-recipes "$version")
    $(dependency org.apache.curator curator-test "$version")
    $(dependency org.apache.curator curator-client "$version" tests)
    $(dependency org.apache.curator curator-framework "$version" tests)
    $(dependency org.apache.curator curator-recipes "$version" tests)
    $(dependency org.apache.zookeeper zookeeper 3.9.3)
    $(dependency org.junit.platform junit-platform-console-standalone 1.10.2)
    $(dependency org.assertj assertj-core 3.24.2)
    $(dependency org.awaitility awaitility 4.1.1)
    $(dependency org.mockito mockito-core 4.11.0)
    $(dependency org.apache.commons commons-math 2.2)
    $(dependency org.slf4j slf4j-nop 1.7.36)
    $(dependency io.dropwizard.metrics metrics-core 3.2.5)
    $(dependency org.xerial.snappy snappy-java 1.1.10.4)
  </dependencies>
</project>
POM
}

install() {
    command -v mvn >/dev/null || fail "maven is missing"
    command -v javac >/dev/null || fail "a JDK is missing"
    mkdir -p "$tools"
    exec 8>"$tools/.curator.lock"
    flock 8
    if [ ! -f "$home/complete" ]; then
        rm -rf "$home"
        mkdir -p "$home/lib" "$home/stand-in"
        write_pom "$home"
        mvn -q -B -f "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/lib" >&2 \
            || fail "maven could not fetch Curator $version"
        # Logging is off, and the launcher brings its own JUnit.
        rm -f "$home"/lib/logback-*.jar "$home"/lib/junit-jupiter-api-*.jar "$home"/lib/junit-platform-commons-*.jar
        touch "$home/complete"
    fi
    javac -nowarn -cp "$home/lib/*" -d "$home/stand-in" "$source"
    flock -u 8
}

# Turns JUnit's XML into sorted lines of "outcome name".
write_results() {
    python3 - "$1" "$2" <<'PY'
import sys, xml.etree.ElementTree as tree
lines = []
for case in tree.parse(sys.argv[1]).iter("testcase"):
    kinds = {child.tag for child in case}
    outcome = "skipped" if "skipped" in kinds else "failed" if kinds & {"failure", "error"} else "passed"
    lines.append(f"{outcome} {case.get('classname')}.{case.get('name').removesuffix('()')}")
with open(sys.argv[2], "w") as out:
    out.writelines(line + "\n" for line in sorted(set(lines), key=lambda line: line.split(" ", 1)[1]))
for outcome in ("passed", "failed", "skipped"):
    print(f"{outcome}: {sum(line.startswith(outcome) for line in lines)}")
PY
}

run_suite() {
    local server=$1 command=$2
    shift 2
    if [ $# -eq 0 ]; then
        set -- --scan-classpath "$home/lib/curator-framework-$version-tests.jar:$home/lib/curator-recipes-$version-tests.jar" \
            -n 'org\.apache\.curator\.framework\..*Test.*'
    fi
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    rm -rf "$home/reports-$server"
    timeout -k 30 "${CURATOR_TIMEOUT_S:-5400}" java -Xmx700m "-Djava.io.tmpdir=$scratch" \
        "-Dsuite.server=$command" "-Dsuite.members=${CURATOR_MEMBERS:-1}" \
        -cp "$home/stand-in:$home/lib/*" org.junit.platform.console.ConsoleLauncher execute \
        --disable-banner --disable-ansi-colors --reports-dir "$home/reports-$server" -e junit-jupiter "$@" \
        >"$home/output-$server.txt" 2>&1 || true
    write_results "$home/reports-$server/TEST-junit-jupiter.xml" "$home/results-$server.txt"
    echo "results: $home/results-$server.txt, output: $home/output-$server.txt"
}

# The names that are "passed" in a file of results.
passed() {
    sed -n 's/^passed //p' "$home/results-$1.txt" | sort
}

compare() {
    local explained=$here/scripts/curator-differences.txt unexplained=0 name reason
    [ -f "$home/results-java.txt" ] && [ -f "$home/results-rookeeper.txt" ] || fail "run java and rookeeper first"
    while read -r name; do
        if reason=$(grep -F -- "$name " "$explained"); then
            echo "explained: $reason"
        else
            echo "UNEXPLAINED: passes against Java, not against Rookeeper: $name"
            unexplained=1
        fi
    done < <(comm -23 <(passed java) <(passed rookeeper))
    comm -13 <(passed java) <(passed rookeeper) | sed 's/^/passes only against Rookeeper: /'
    echo "Java passes $(passed java | wc -l), Rookeeper $(passed rookeeper | wc -l)"
    return $unexplained
}

[ $# -ge 1 ] || fail "usage: install | java [options] | rookeeper [options] | compare"
command=$1
shift
case $command in
    install)
        install
        ;;
    java)
        install
        "$here/scripts/java-zookeeper.sh" install
        run_suite java "$here/scripts/java-zookeeper.sh server" "$@"
        ;;
    rookeeper)
        install
        program=$(binary)
        run_suite rookeeper "$program server" "$@"
        ;;
    compare)
        compare
        ;;
    *)
        fail "unknown subcommand $command"
        ;;
esac
