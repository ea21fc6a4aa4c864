# find_debs.sh OUTPUT install|download PACKAGE...
#
# Ask the archives of this image which files `apt-get install PACKAGE...` would fetch, or `apt-get download`, which goes
# without what packages depend on; write to OUTPUT/debs one line for each file: package, version, architecture, file
# name, size, sha256, address. Nothing is installed.
set -eu
output=$1 verb=$2
shift 2

quiet='-q -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root -o Acquire::Retries=3'
[ -z "${SSL_CERT_FILE:-}" ] || quiet="$quiet -o Acquire::https::CAInfo=$SSL_CERT_FILE"
# shellcheck disable=SC2086
apt-get $quiet update >/dev/null
# shellcheck disable=SC2086
apt-get $quiet --yes --no-install-recommends --print-uris "$verb" "$@" >/tmp/uris
: >"$output/debs"
sed -n "s/^'\([^']*\)' \([^ ]*\) \([0-9]*\) \([^ ]*\)$/\1 \2 \3 \4/p" /tmp/uris | while read -r address file size hash; do
    name=${file%%_*}
    rest=${file#*_}
    version=$(printf '%s' "${rest%_*}" | sed 's/%3a/:/g')
    architecture=${rest##*_}
    architecture=${architecture%.deb}
    case $hash in
    SHA256:*) hash=${hash#SHA256:} ;;
    *) hash=$(apt-cache show "$name:$architecture=$version" | sed -n 's/^SHA256: //p' | head -n 1) ;;
    esac
    [ -n "$hash" ] || { echo "the archive has no sha256 of $file" >&2; exit 1; }
    echo "$name $version $architecture $file $size $hash $address" >>"$output/debs"
done
