#!/bin/sh
# Install and start Docker Engine on Debian 12/13 or Ubuntu when none is reachable; never touch one that runs.
#
#   engine.sh                     engine only
#   engine.sh --with-mmdebstrap   and what `flyte-images base build` needs (root; without, only a warning)
#
# Debian 12's own Docker (20.10) is too old: it has no merge, no oci-layout sources. Debian 13's packages need nothing
# newer than Debian 12's libc, so there they are taken from a low-pinned extra source that upgrades nothing else.
# Where the mirror is comes from this machine's own apt configuration.
set -eu

# The sockets of Docker Engine, the rootless one's too, in the order in which a build looks for them.
socket=${DOCKER_HOST:-}
for path in /var/run/docker.sock "${XDG_RUNTIME_DIR:-/nowhere}/docker.sock" "${HOME:-/nowhere}/.docker/run/docker.sock"; do
    if [ -z "$socket" ] && [ -S "$path" ]; then socket=unix://$path; fi
done
: "${socket:=unix:///var/run/docker.sock}"
state=/var/lib/flyte-images-engine

say() { printf 'engine: %s\n' "$*" >&2; }
die() { say "$1"; [ $# -lt 2 ] || printf '\nhint: %s\n' "$2" >&2; exit 3; }

# Ask over the socket: a docker client that is too old, or for another context, must not matter.
ask() { python3 - "$socket" "$1" <<'PY'
import http.client, json, socket, sys
address, path = sys.argv[1:]
if not address.startswith("unix://"):
    sys.exit(1)
connection = http.client.HTTPConnection("engine", timeout=10)
connection.sock = socket.socket(socket.AF_UNIX)
try:
    connection.sock.connect(address[len("unix://"):])
    connection.request("GET", path)
    reply = connection.getresponse()
    body = reply.read()
except OSError:
    sys.exit(1)
if path == "/_ping":
    sys.exit(0 if reply.status == 200 else 1)
value = json.loads(body)
print(value["ServerVersion"], any("io.containerd.snapshotter" in pair[1] for pair in value.get("DriverStatus") or []))
PY
}

check() {
    set -- $(ask /info)
    say "Docker Engine ${1:-unknown} answers at $socket"
    major=${1%%.*}
    [ "$major" -ge 26 ] 2>/dev/null || say "warning: it is older than 26; images are built as a plain chain, if at all"
    [ "${2:-}" = True ] || say "warning: it does not use the containerd image store (daemon.json: {\"features\": {\"containerd-snapshotter\": true}})"
}

need_root() { [ "$(id -u)" = 0 ] || die "$1 needs root" "run it with sudo, or start a Docker Engine (26 or newer) yourself"; }

. "$(dirname "$0")/apt.sh"

# The package mirror of this machine: the URI of an index that Debian itself is the origin of.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 2>/dev/null |
        awk '$2 == "Debian" && $3 !~ /security|updates|backports/ { print $1; exit }'
}

install_engine() {
    . /etc/os-release
    need_root "installing Docker Engine"
    command -v apt-get >/dev/null || die "$PRETTY_NAME has no apt-get" "install Docker Engine 26 or newer and start it"
    say "installing Docker Engine on $PRETTY_NAME"
    apt_get update
    target=
    if [ "$ID" = debian ] && [ "${VERSION_ID:-99}" -lt 13 ]; then
        [ "$VERSION_ID" -ge 12 ] || die "$PRETTY_NAME is too old" "Debian 12 or newer, or install Docker Engine yourself"
        uri=$(mirror)
        [ -n "$uri" ] || die "apt knows no Debian mirror" "check /etc/apt/sources.list"
        keyring=/usr/share/keyrings/debian-archive-keyring.gpg
        printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' "$uri" "$keyring" \
            >/etc/apt/sources.list.d/flyte-images-trixie.sources
        printf 'Package: *\nPin: release n=trixie\nPin-Priority: 50\n' >/etc/apt/preferences.d/flyte-images-trixie
        apt_get update
        target=/trixie
    fi
    available=$(apt-cache madison docker.io | awk 'NR == 1 { print $3 }')
    [ -n "$available" ] || die "apt offers no docker.io package" "install Docker Engine 26 or newer and start it"
    apt_get install iptables ca-certificates \
        "docker.io$target" "containerd$target" "docker-buildx$target" "docker-cli$target"
}

start_engine() {
    need_root "starting Docker Engine"
    mkdir -p "$state"
    config=$state/daemon.json
    printf '{"features": {"containerd-snapshotter": true, "cdi": true}}\n' >"$config"
    if [ -d /run/systemd/system ]; then
        if [ ! -e /etc/docker/daemon.json ]; then mkdir -p /etc/docker && cp "$config" /etc/docker/daemon.json; fi
        systemctl enable --quiet --now docker || die "systemd could not start docker" "journalctl -u docker"
        systemctl restart docker
    else
        log=$state/dockerd.log
        mkdir -p /var/run
        rm -f /var/run/docker.pid
        setsid /usr/sbin/dockerd --config-file "$config" </dev/null >"$log" 2>&1 &
    fi
    for _ in $(seq 120); do
        if ask /_ping; then return; fi
        sleep 0.5
    done
    [ -z "${log:-}" ] || tail -n 15 "$log" >&2
    die "dockerd did not answer within a minute" "${log:+its log: $log}"
}

# newuidmap is what lets other users than root make a base.
if [ "${1:-}" = --with-mmdebstrap ] && ! { command -v mmdebstrap && command -v newuidmap; } >/dev/null; then
    if may_apt; then
        say "installing mmdebstrap"
        apt_get update
        apt_get install mmdebstrap uidmap
    else
        say "warning: mmdebstrap and uidmap are not installed: where no registry answers, no base image can be made"
    fi
fi
if ! ask /_ping; then
    path=${socket#unix://}
    if [ -S "$path" ] && [ ! -w "$path" ]; then
        die "there is a Docker Engine at $socket, but $(id -un) may not use it" "as root: usermod -aG docker $(id -un), then log in anew"
    fi
    case $socket in unix:///var/run/docker.sock) ;; *) die "nothing answers at DOCKER_HOST=$socket" "start it, or unset DOCKER_HOST" ;; esac
    [ -x /usr/sbin/dockerd ] || install_engine
    ask /_ping || start_engine
fi
check
