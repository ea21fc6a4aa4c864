# make_venv.sh OUTPUT VENV EPOCH X.Y yes|no
#
# Write the skeleton of a virtual environment for the Python X.Y of the image that this runs in to OUTPUT/VENV; the last
# word says whether the image's own site-packages are seen from it. Fails, saying what there is, without that Python.
set -eu
output=$1 venv=$2 epoch=$3 wanted=$4 shared=$5

found=
for name in "python$wanted" python3 python; do
    at=$(command -v "$name") || continue
    version=$("$at" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if [ "$version" = "$wanted" ]; then found=$at; break; fi
    other="$version at $at"
done
if [ -z "$found" ]; then
    echo "the base has no Python $wanted${other:+; it has $other}" >&2
    exit 3
fi

exec "$found" -I -S - "$output" "$venv" "$epoch" "$shared" <<'PROGRAM'
import os, sys

output, venv, epoch, shared = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.umask(0o022)
root = output + venv
short = "%d.%d" % sys.version_info[:2]
os.makedirs(root + "/bin")
os.makedirs(root + "/lib/python%s/site-packages" % short)
target = os.path.realpath(sys.executable)
home = os.path.dirname(target)
with open(root + "/pyvenv.cfg", "w") as file:
    file.write("home = %s\n" % home)
    file.write("include-system-site-packages = %s\n" % {"yes": "true", "no": "false"}[shared])
    file.write("version = %d.%d.%d\n" % sys.version_info[:3])
os.symlink(target, root + "/bin/python")
os.symlink("python", root + "/bin/python3")
os.symlink("python", root + "/bin/python" + short)
if sys.maxsize > 2**32:
    os.symlink("lib", root + "/lib64")
for folder, _, files in os.walk(output, topdown=False):
    for name in files + ["lib64"] * (folder == root):
        os.utime(os.path.join(folder, name), (epoch, epoch), follow_symlinks=False)
    os.utime(folder, (epoch, epoch))
PROGRAM
