# Run by mmdebstrap before anything is installed: setup.sh ROOT LISTS
set -eu
root=$1
lists=$2

# Since Debian 12 a system is made with /bin in /usr from the start. Its usrmerge would do the same later, and keep 50 MB
# of Perl for it. In Debian 13 base-files has these links.
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

# No documentation and no translations, whatever is installed, now and later. In this way and not by an option, for which
# mmdebstrap has a Python program filter each essential package: 10 of 33 s of processor time. apt's examples are read
# and removed by finish.sh.
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
