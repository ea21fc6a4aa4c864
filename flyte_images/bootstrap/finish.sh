# mmdebstrap runs this script when all packages are installed: finish.sh ROOT SUITE PYTHON
set -eu
cd "$1"
suite=$2
python=$3

# The archive addresses are those of apt's example (Debian's own), not those of this machine's mirror.
examples=usr/share/doc/apt/examples
address() { sed -n "s,^\(URIs: \|deb \)\(https\?://[^ ]*$1\)/\?\( .*\)\?\$,\2,p" "$examples"/*.list "$examples"/*.sources 2>/dev/null | head -n 1; }
main=$(address /debian)
security=$(address -security)
if [ -z "$main" ] || [ -z "$security" ]; then
    echo "E: apt's example of sources names no archive" >&2
    exit 1
fi
entry() {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$1" "$2"
    printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n'
}
rm -rf etc/apt/sources.list etc/apt/sources.list.d/* "$examples"
{
    entry "$main" "$suite $suite-updates"
    echo
    entry "$security" "$suite-security"
} >etc/apt/sources.list.d/debian.sources

# Remove proxies, the paths of credentials, and the choice between the two packages of usrmerge.
rm etc/apt/apt.conf.d/99mmdebstrap etc/apt/preferences.d/flyte-images

sed -i /examples/d etc/dpkg/dpkg.cfg.d/no-documentation

# Packages that are installed later bring no translated descriptions and leave no copy in the cache.
cat >etc/apt/apt.conf.d/image <<'END'
Acquire::Languages "none";
Binary::apt::APT::Keep-Downloaded-Packages "false";
APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
END

# System accounts do not carry the date of the build.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1:20000:/' etc/shadow

# With SOURCE_DATE_EPOCH set, Python wrote byte-code that hashes its source at each load. Files of
# packages keep their dates, so byte-code that records the date of its source is reproducible, and valid after an upgrade.
unset SOURCE_DATE_EPOCH
chroot . python3 -m compileall -q -f --invalidation-mode timestamp "usr/lib/python$python" usr/share/python3
find "usr/lib/python$python" -path '*/test/*' -name '*.pyc' -delete
