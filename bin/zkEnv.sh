# To be sourced: finds the configuration directory, the log directory and the server's binary.
#
# Reads   ZOOCFGDIR      directory of the configuration; else conf/ beside bin/, else etc/zookeeper
#         ZOOCFG         name of the configuration file in it (default zoo.cfg), or a path
#         ZOO_LOG_DIR    directory of the log (default logs/ beside bin/)
#         ROOKEEPER      the binary; else looked for beside this file, in a build, in the PATH
# Sources zookeeper-env.sh and java.env of the configuration directory where they exist.

ZOOBINDIR=${ZOOBINDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
ZOOKEEPER_PREFIX=${ZOOBINDIR%/*}

if [ -z "${ZOOCFGDIR:-}" ]; then
    if [ -d "$ZOOKEEPER_PREFIX/conf" ]; then
        ZOOCFGDIR=$ZOOKEEPER_PREFIX/conf
    else
        ZOOCFGDIR=$ZOOKEEPER_PREFIX/etc/zookeeper
    fi
fi

for file in zookeeper-env.sh java.env; do
    if [ -f "$ZOOCFGDIR/$file" ]; then
        . "$ZOOCFGDIR/$file"
    fi
done

# A bare name is a file of the configuration directory.
case ${ZOOCFG:-zoo.cfg} in
    */*) ;;
    *) ZOOCFG=$ZOOCFGDIR/${ZOOCFG:-zoo.cfg} ;;
esac

ZOO_LOG_DIR=${ZOO_LOG_DIR:-$ZOOKEEPER_PREFIX/logs}

if [ -z "${ROOKEEPER:-}" ]; then
    for file in "$ZOOBINDIR/rookeeper" "$ZOOKEEPER_PREFIX/target/release/rookeeper"; do
        if [ -x "$file" ]; then
            ROOKEEPER=$file
            break
        fi
    done
fi
if [ -z "${ROOKEEPER:-}" ] && ! ROOKEEPER=$(command -v rookeeper); then
    echo "Error: ROOKEEPER is not set and rookeeper could not be found in PATH." >&2
    exit 1
fi
