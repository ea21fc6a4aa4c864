#!/bin/sh
# Run a command against a newer Docker Engine than this machine has, or may have: Debian unstable's.
#
#   newer_engine.sh DIRECTORY COMMAND...
#
# As root, with mmdebstrap and slirp4netns. DIRECTORY becomes a Debian with docker.io (once, a minute, 600 MB) and keeps
# the engine's data from one run to the next. The engine sees this machine's files at their own places; engine and
# command are in a network namespace of their own, where no other engine is, and its socket is Docker's for the command.
# It ends with the command.
set -eu

say() { printf 'newer engine: %s\n' "$*" >&2; }

if [ "$1" != --inside ]; then
    root=$(realpath -m "$1")
    shift
    if [ ! -x "$root/usr/sbin/dockerd" ]; then
        say "making $root"
        rm -rf --one-file-system "$root"
        # A mirror may lag behind; what is fetched is signed all the same.
        mmdebstrap --quiet --variant=apt --include=docker.io,docker-cli,iptables,git,ca-certificates \
            --aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt='path-exclude=/usr/share/doc/*' sid "$root"
    fi
    state=$(mktemp -d /tmp/fi-XXXXXX) # short: containerd's sockets lie below it
    trap 'rm -rf --one-file-system "$state"' EXIT
    status=0
    unshare --net --mount --propagation private sh "$0" --inside "$root" "$state" "$@" || status=$?
    exit "$status"
fi

root=$2 state=$3
shift 3
mount --bind "$root" "$root" # containerd looks its directory up among the mounts
# The network's devices are told by a sysfs of this namespace; the control groups stay those of the machine.
mkdir "$state/cgroup"
mount --rbind /sys/fs/cgroup "$state/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$state/cgroup" /sys/fs/cgroup
for place in /*; do
    case $place in
    /bin | /boot | /etc | /lib* | /sbin | /usr | /var | /run | /lost+found) ;;
    *)
        [ -d "$place" ] && [ ! -L "$place" ] || continue
        mkdir -p "$root$place"
        mount --rbind "$place" "$root$place"
        ;;
    esac
done
mount --bind /var/tmp "$root/var/tmp"
mount -t tmpfs tmpfs "$root/run"
printf 'nameserver 10.0.2.3\n' >"$root/etc/resolv.conf"
ip link set lo up
nsenter --net --target "$PPID" slirp4netns --configure --mtu=65520 $$ tap0 >"$state/slirp" 2>&1 &
network=$!
echo '{"features": {"containerd-snapshotter": true}}' >"$state/daemon.json"
# No chroot: what is executed in a container would be in the root of the mount namespace, which is this machine's then.
mkdir -p "$root/.machine"
# shellcheck disable=SC2016
unshare --mount --propagation private sh -euc '
    cd "$1"
    pivot_root . .machine
    cd /
    exec dockerd -H "unix://$2/sock" --exec-root "$2/exec" --pidfile "$2/pid" --config-file "$2/daemon.json"
' engine "$root" "$state" >"$state/log" 2>&1 &
engine=$!
finish() {
    kill "$engine" "$network" 2>/dev/null || true
    wait || true
}
trap finish EXIT
tries=0
until DOCKER_HOST=unix://$state/sock docker version --format '{{.Server.Version}}' >"$state/version" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$engine" 2>/dev/null; then
        tail -n 20 "$state/log" "$state/slirp" >&2
        exit 3
    fi
    sleep 0.2
done
say "Docker Engine $(cat "$state/version")"
# Here alone, it is the engine that is found without being named.
[ -S /var/run/docker.sock ] && mount --bind "$state/sock" /var/run/docker.sock
status=0
env -u BUILDKIT_HOST -u DOCKER_CONTEXT -u DOCKER_HOST "$@" || status=$?
exit "$status"
