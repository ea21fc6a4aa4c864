# Sourced by the set-up scripts: `apt_get install PACKAGE...` as root, silent unless it fails.

may_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_get() {
    apt_log=$(mktemp)
    if ! DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@" >"$apt_log" 2>&1; then
        tail -n 30 "$apt_log" >&2
        printf 'set-up: apt-get %s failed; all it said is in %s\n' "$*" "$apt_log" >&2
        exit 1
    fi
    rm -f "$apt_log"
}
