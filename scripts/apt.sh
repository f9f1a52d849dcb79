# To be sourced: installs what a script needs from Debian's packages.

# The named packages; needs root or sudo. Fails with what is missing where there is no way to get it.
apt_install() {
    local name=${0##*/} as_root=()
    if ! command -v apt-get >/dev/null; then
        echo "$name: this machine lacks $*, and has no apt-get to install it" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "$name: this machine lacks $*; to install it takes root or sudo" >&2
            return 1
        fi
        as_root=(sudo -n)
    fi
    if ! "${as_root[@]}" apt-get update -qq >&2 \
        || ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >&2; then
        echo "$name: apt-get could not install $*" >&2
        return 1
    fi
}
