#!/usr/bin/env bash
# Apache ZooKeeper (the Java original), the peer that Rookeeper is compared with.
#
#   scripts/java-zookeeper.sh install                       fetch it; quick when it is already there
#   scripts/java-zookeeper.sh classpath                     print the class path
#   scripts/java-zookeeper.sh server zoo.cfg [-Dname=value ...]
#                                                           run a server in the foreground
#   scripts/java-zookeeper.sh cli -server host:port [command words ...]
#                                                           run zkCli (interactive without a command)
#   scripts/java-zookeeper.sh java class [arguments ...]    run any other class, e.g.
#                                                           org.apache.zookeeper.server.SnapshotFormatter
#
# Every subcommand installs first where something is missing. "server" replaces this shell by the JVM
# (exec), so the process id of the script is the process id of the server: `... server a.cfg & kill $!`
# stops it. A configuration of a few lines is enough:
#
#   dataDir=/some/where
#   clientPort=21810
#   4lw.commands.whitelist=*
#
# The admin server is off and the heap is small unless told otherwise.
#
# Environment
#   ZOOKEEPER_VERSION  which release (default 3.9.5); each is kept beside the others
#   ROOKEEPER_TOOLS    where fetched tools live (default: .tools in the checkout), so that several
#                      checkouts can share one copy
#   JAVA_HOME          the Java to use; else `java` of the PATH
#   JAVA_HEAP          heap of the server, a JVM size (default 512m)
#   JAVA_FLAGS         other options of the JVM (default -XX:+UseSerialGC, the smallest collector)
#   JAVA_LOG_LEVEL     level of the log on standard error (default WARN)
#
# The jars come from wherever the machine's own Maven settings point; Java and Maven come from apt where
# they are missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

version=${ZOOKEEPER_VERSION:-3.9.5}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ROOKEEPER_TOOLS:-$here/.tools}
home=$tools/zookeeper-$version
log_level=${JAVA_LOG_LEVEL:-WARN}
read -r -a flags <<<"${JAVA_FLAGS--XX:+UseSerialGC}"
flags+=("-Drookeeper.log.level=$log_level")

fail() {
    echo "java-zookeeper.sh: $*" >&2
    exit 1
}

java_command() {
    if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then
        echo "$JAVA_HOME/bin/java"
    else
        echo java
    fi
}

need_java() {
    "$(java_command)" -version >/dev/null 2>&1 || apt_install default-jre-headless
}

# What a release needs besides its published dependencies: since 3.8 it logs by Logback, 3.9 by the
# 1.3 that goes with version 2 of SLF4J. Earlier ones get Logback too, for one format of the log.
logback_version() {
    case $version in
        3.[5-8].*) echo 1.2.13 ;;
        *) echo 1.3.15 ;;
    esac
}

write_pom() {
    cat >"$1/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>rookeeper.tools</groupId>
  <artifactId>java-zookeeper</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.zookeeper</groupId>
      <artifactId>zookeeper</artifactId>
      <version>$version</version>
    </dependency>
    <!-- Needed at run time, and left out of the published dependencies of the artifact above. -->
    <dependency><groupId>ch.qos.logback</groupId><artifactId>logback-classic</artifactId><version>$(logback_version)</version></dependency>
    <dependency><groupId>ch.qos.logback</groupId><artifactId>logback-core</artifactId><version>$(logback_version)</version></dependency>
    <dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version></dependency>
    <dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version></dependency>
    <dependency><groupId>org.eclipse.jetty</groupId><artifactId>jetty-server</artifactId><version>9.4.58.v20250814</version></dependency>
    <dependency><groupId>org.eclipse.jetty</groupId><artifactId>jetty-servlet</artifactId><version>9.4.58.v20250814</version></dependency>
    <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-databind</artifactId><version>2.15.2</version></dependency>
    <dependency><groupId>commons-cli</groupId><artifactId>commons-cli</artifactId><version>1.5.0</version></dependency>
    <dependency><groupId>org.jline</groupId><artifactId>jline</artifactId><version>3.25.1</version></dependency>
  </dependencies>
</project>
POM
}

# The level is a property, so that one installed copy serves quiet tests and noisy searches.
write_logback() {
    cat >"$1/conf/logback.xml" <<'XML'
<configuration>
  <appender name="STDERR" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder><pattern>%d{ISO8601} [myid:%X{myid}] - %-5p [%t:%C{1}@%L] - %m%n</pattern></encoder>
  </appender>
  <root level="${rookeeper.log.level:-WARN}"><appender-ref ref="STDERR"/></root>
</configuration>
XML
}

# Fetches into a directory of its own and renames it at the end: a broken run leaves no half copy, and of
# two runs at once the second finds the first's result.
install() {
    need_java
    [ -f "$home/complete" ] && return
    mkdir -p "$tools"
    exec 8>"$tools/.java-zookeeper.lock"
    flock 8
    [ -f "$home/complete" ] && return
    command -v mvn >/dev/null || apt_install maven
    local work
    work=$(mktemp -d "$tools/zookeeper-$version.XXXXXX")
    mkdir -p "$work/lib" "$work/conf"
    write_pom "$work"
    write_logback "$work"
    mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$work/lib" >&2 || { rm -rf "$work"; fail "maven could not fetch ZooKeeper $version"; }
    ls "$work/lib/zookeeper-$version.jar" >/dev/null
    touch "$work/complete"
    rm -rf "$home"
    mv "$work" "$home"
    flock -u 8
    echo "ZooKeeper $version is in $home" >&2
}

classpath() {
    echo "$home/conf:$home/lib/*"
}

[ $# -ge 1 ] || fail "usage: install | classpath | server zoo.cfg [-D...] | cli [...] | java class [...]"
command=$1
shift
case $command in
    install)
        install
        ;;
    classpath)
        install
        classpath
        ;;
    server)
        [ $# -ge 1 ] || fail "server needs a configuration file"
        install
        config=$1
        shift
        exec "$(java_command)" "-Xmx${JAVA_HEAP:-512m}" "${flags[@]}" \
            -Dzookeeper.admin.enableServer=false -Dzookeeper.jmx.log4j.disable=true "$@" \
            -cp "$(classpath)" \
            org.apache.zookeeper.server.quorum.QuorumPeerMain "$config"
        ;;
    cli)
        install
        exec "$(java_command)" -Xmx256m "${flags[@]}" -cp "$(classpath)" \
            org.apache.zookeeper.ZooKeeperMain "$@"
        ;;
    java)
        install
        exec "$(java_command)" -Xmx512m "${flags[@]}" -cp "$(classpath)" "$@"
        ;;
    *)
        fail "unknown subcommand $command"
        ;;
esac
