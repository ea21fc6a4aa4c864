# Run by mmdebstrap when it has unpacked the essential packages, before dpkg installs them: unpacked.sh ROOT
# Documentation that dpkg is going to leave out goes before anything makes a link to it.
set -eu
cd "$1"
find usr/share/doc -type f ! -name copyright -delete
for name in info locale man; do
    [ ! -d "usr/share/$name" ] || find "usr/share/$name" ! -type d ! -name locale.alias -delete
    [ ! -d "usr/share/$name" ] || find "usr/share/$name" -mindepth 1 -depth -type d -empty -delete
done
