#!/bin/sh
# Install what the tests and benches need beyond the engine. What is there already is left as it is.
#
#   setup.sh FOLDER    programs that are only taken out of their package go to FOLDER, the rest through apt
set -eu

folder=$1
. "$(dirname "$0")/../runtime/setup/apt.sh"

say() { printf 'setup: %s\n' "$*" >&2; }

# program:packages
needed="openssl:openssl ssh-agent:openssh-client git:git unshare:util-linux docker:docker-cli runc:runc crun:crun
    faketime:faketime gcc:gcc,libc6-dev zstd:zstd ip:iproute2 pgrep:procps
    podman:podman runsc:runsc newuidmap:uidmap slirp4netns:slirp4netns"

missing=
for pair in $needed; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing $(echo "${pair#*:}" | tr , ' ')"
done
if [ -n "$missing" ]; then
    if ! may_apt; then
        printf 'setup: not installed:%s\n\nhint: as root: apt-get install%s\n' "$missing" "$missing" >&2
        exit 1
    fi
    say "installing$missing"
    apt_get update
    # shellcheck disable=SC2086
    apt_get install $missing
fi

# The registry's package would start one on this machine. The program alone is enough, and needs no root.
if ! command -v docker-registry >/dev/null && [ ! -x "$folder/docker-registry" ]; then
    say "fetching docker-registry"
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    if ! (cd "$temporary" && apt-get -qq -o APT::Sandbox::User=root download docker-registry >&2); then
        may_apt && apt_get update
        (cd "$temporary" && apt-get -qq -o APT::Sandbox::User=root download docker-registry >&2)
    fi
    dpkg-deb --fsys-tarfile "$temporary"/docker-registry_*.deb >"$temporary/files.tar"
    tar -xf "$temporary/files.tar" -C "$temporary" ./usr/bin/docker-registry
    mv "$temporary/usr/bin/docker-registry" "$folder/docker-registry"
fi
