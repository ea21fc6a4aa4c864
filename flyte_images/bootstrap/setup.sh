# mmdebstrap runs this script before it installs packages: setup.sh ROOT LISTS
set -eu
root=$1
lists=$2

# Since Debian 12 a new system has /bin in /usr. Its usrmerge would move /bin later, and keep 50 MB
# of Perl for that. In Debian 13 base-files has these links.
case $(dpkg --print-architecture) in
    amd64 | ppc64el) more=lib64 ;;
    *) more= ;;
esac
for name in bin sbin lib $more; do
    mkdir -p "$root/usr/$name"
    ln -s "usr/$name" "$root/$name"
done
printf 'Package: usrmerge\nPin: release *\nPin-Priority: -1\n' >"$root/etc/apt/preferences.d/flyte-images"

mkdir -p "$root/var/lib/apt/lists"
cp "$lists"/*_* "$root/var/lib/apt/lists/"

# Exclude documentation and translations from all packages, now and later. An option of mmdebstrap would do the same,
# but filters each essential package with a Python program: 10 of 33 s of processor time. finish.sh reads and removes
# apt's examples.
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
cat >"$root/etc/dpkg/dpkg.cfg.d/no-documentation" <<'END'
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
path-include=/usr/share/doc/*/copyright
path-include=/usr/share/locale/locale.alias
path-include=/usr/share/doc/apt/examples/*sources*
END
