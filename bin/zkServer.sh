#!/usr/bin/env bash
# Starts, stops and asks a server, with the words, outputs and exit codes of ZooKeeper's own script.
#
#   zkServer.sh [--config DIR] start|start-foreground|stop|restart|status|version|print-cmd [zoo.cfg]
#
# Environment, beside that of zkEnv.sh
#   ZOOPIDFILE                        file of the process id (default <dataDir>/zookeeper_server.pid)
#   ZOO_LOG_FILE                      accepted as by Java's server; the log goes to the .out file
#   ZOO_DATADIR_AUTOCREATE_DISABLE    if set, a missing data directory is an error
#   SERVER_JVMFLAGS, JVMFLAGS         their -Dname=value options are taken, others are passed over
#   ZOO_NOEXEC                        if set, start-foreground keeps this shell around the server

program=$0
ZOOBINDIR=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
config=()
if [ "${1:-}" = --config ] && [ $# -gt 1 ]; then
    ZOOCFGDIR=$2
    config=(--config "$2")
    shift 2
fi
. "$ZOOBINDIR/zkEnv.sh"

command=${1:-}
case ${2:-} in
    '') ;;
    */*) ZOOCFG=$2 ;;
    *) ZOOCFG=$ZOOCFGDIR/$2 ;;
esac
echo "Using config: $ZOOCFG" >&2

# The last value of a key in the configuration file, without the blanks around it.
setting() {
    sed -n -e "s/^[[:space:]]*$1[[:space:]]*[=:][[:space:]]*//p" "$ZOOCFG" 2>/dev/null \
        | sed -n -e 's/[[:space:]]*$//' -e '$p'
}

usage() {
    echo "Usage: $program [--config <conf-dir>]" \
        "{start|start-foreground|stop|version|restart|status|print-cmd}" >&2
}

# Checks directories and names the files that start and stop use.
prepare() {
    data_dir=$(setting dataDir)
    local data_log_dir
    data_log_dir=$(setting dataLogDir)
    autocreate=()
    if [ -n "${ZOO_DATADIR_AUTOCREATE_DISABLE:-}" ]; then
        if [ ! -d "$data_dir/version-2" ]; then
            echo "ZooKeeper data directory is missing at $data_dir fix the path or run initialize"
            exit 1
        fi
        if [ -n "$data_log_dir" ] && [ ! -d "$data_log_dir/version-2" ]; then
            echo "ZooKeeper txnlog directory is missing at $data_log_dir fix the path or run initialize"
            exit 1
        fi
        autocreate=(-Dzookeeper.datadir.autocreate=false)
    fi
    pid_file=${ZOOPIDFILE:-${data_dir:-.}/zookeeper_server.pid}
    output=$ZOO_LOG_DIR/zookeeper-${USER:-}-server-${HOSTNAME:-}.out
    log_file=${ZOO_LOG_FILE:-zookeeper-${USER:-}-server-${HOSTNAME:-}.log}
    # java.env may have set the flags without exporting them.
    local flag flags=()
    for flag in $SERVER_JVMFLAGS $JVMFLAGS; do
        case $flag in -D*) flags+=("$flag") ;; esac
    done
    server=("$ROOKEEPER" server "${autocreate[@]}" "-Dzookeeper.log.dir=$ZOO_LOG_DIR"
        "-Dzookeeper.log.file=$log_file" "${flags[@]}" "$ZOOCFG")
}

running() {
    kill -0 "$1" 2>/dev/null
}

start() {
    mkdir -p "$(dirname "$pid_file")" "$ZOO_LOG_DIR"
    echo -n "Starting zookeeper ... "
    local pid
    if [ -f "$pid_file" ] && pid=$(<"$pid_file") && [ -n "$pid" ] && running "$pid"; then
        echo "already running as process $pid."
        exit 1
    fi
    nohup "${server[@]}" >"$output" 2>&1 </dev/null &
    pid=$!
    if ! echo -n "$pid" >"$pid_file"; then
        echo FAILED TO WRITE PID
        exit 1
    fi
    # A wrong configuration or a port in use shows within this time.
    sleep 1
    if running "$pid"; then
        echo STARTED
    else
        echo FAILED TO START
        exit 1
    fi
}

# Waits for the end of the process, where Java's script waits a second: after "STOPPED" the port and
# the data directory are free.
stop() {
    echo -n "Stopping zookeeper ... "
    if [ ! -f "$pid_file" ]; then
        echo "no zookeeper to stop (could not find file $pid_file)"
        exit 0
    fi
    local pid tenths=0
    pid=$(<"$pid_file")
    kill "$pid"
    rm "$pid_file"
    while running "$pid" && [ $tenths -lt 600 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    if running "$pid"; then
        echo "process $pid has not ended within a minute"
        exit 1
    fi
    echo STOPPED
    exit 0
}

case $command in
    start)
        prepare
        start
        ;;
    start-foreground)
        prepare
        mkdir -p "$(dirname "$pid_file")" "$ZOO_LOG_DIR"
        if [ -z "${ZOO_NOEXEC:-}" ]; then
            exec "${server[@]}"
        fi
        "${server[@]}"
        ;;
    print-cmd)
        prepare
        printf '"%s" ' "${server[@]}"
        echo "> \"$output\" 2>&1 < /dev/null"
        ;;
    stop)
        prepare
        stop
        ;;
    restart)
        shift
        "$program" "${config[@]}" stop "$@"
        "$program" "${config[@]}" start "$@"
        ;;
    status)
        exec "$ROOKEEPER" status "$ZOOCFG"
        ;;
    version)
        exec "$ROOKEEPER" version
        ;;
    *)
        usage
        ;;
esac
