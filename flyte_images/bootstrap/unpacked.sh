# mmdebstrap runs this script between unpacking and installing the essential packages: unpacked.sh ROOT
# Remove the documentation that dpkg will exclude before a package makes a link to it.
set -eu
cd "$1"
find usr/share/doc -type f ! -name copyright -delete
for name in info locale man; do
    [ ! -d "usr/share/$name" ] || find "usr/share/$name" ! -type d ! -name locale.alias -delete
    [ ! -d "usr/share/$name" ] || find "usr/share/$name" -mindepth 1 -depth -type d -empty -delete
done
