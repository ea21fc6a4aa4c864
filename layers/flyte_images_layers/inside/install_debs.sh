# install_debs.sh EPOCH FILE...
#
# Install Debian packages from files, without network, and leave nothing behind that differs from one day to the next.
set -eu
epoch=$1
shift
mark=/dev/shm/.flyte-images-$$
: >"$mark"
sleep 0.02
if ! apt-get -q -o Dpkg::Use-Pty=0 -o APT::Install-Recommends=false -o Dir::Cache::pkgcache= \
    -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root --yes --allow-downgrades install "$@" >/tmp/log 2>&1; then
    cat /tmp/log >&2
    exit 1
fi
rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old /var/lib/dpkg/*-old \
    /var/cache/ldconfig/aux-cache /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/extended_states.old
find / -xdev -cnewer "$mark" -newermt "@$epoch" ! -path /proc ! -path /sys ! -path '/flyte-images/*' \
    -exec touch -h -c -d "@$epoch" {} + 2>/dev/null || true
rm -f "$mark"
