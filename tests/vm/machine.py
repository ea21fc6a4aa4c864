"""A virtual machine of Debian with only cgroup v2 in its kernel, and the output of a program in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
_PACKAGES = "python3,crun,runc,linux-image-cloud-amd64,mount,util-linux,kmod,e2fsprogs,passwd,uidmap"
_MARK = "RESULT "
_INIT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
modprobe overlay
modprobe loop
python3 /app/inside.py
echo o >/proc/sysrq-trigger
sleep 60
"""


def _make_image(root: Path) -> None:
    """Copy the machine's files to /image, without later mounts among them."""
    image = root / "image"
    image.mkdir()
    subprocess.run(("cp", "-al", root / "usr", root / "etc", image), check=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (image / name).symlink_to(f"usr/{name}")


def boot(place: Path, *, seconds: float) -> dict[str, Any]:
    """Make the machine, run inside.py in it, and return the results by name."""
    root = place / "root"
    root.mkdir()
    # first an archive: mmdebstrap makes a directory only where every user may read the whole path
    subprocess.run(
        ("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", place / "root.tar"),
        check=True,
    )
    subprocess.run(("tar", "-x", "-C", root, "-f", place / "root.tar"), check=True)
    app = root / "app"
    shutil.copytree(REPOSITORY / "runtime/flyte_images_runtime", app / "flyte_images_runtime")
    shutil.copytree(REPOSITORY / "tests/integration/runtime/contract", app / "contract")
    shutil.copy(Path(__file__).with_name("inside.py"), app / "inside.py")
    _make_image(root)
    (app / "init").write_text(_INIT)
    (app / "init").chmod(0o755)
    disk = place / "disk"
    with disk.open("wb") as file:
        file.truncate(2 << 30)
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", root, disk), check=True)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (initrd,) = (root / "boot").glob("initrd.img-*")
    options = ("-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048", "-nographic", "-no-reboot")
    command = "console=ttyS0 root=/dev/vda rw init=/app/init quiet panic=-1 cgroup_no_v1=all"
    drive = f"file={disk},format=raw,if=virtio,cache=unsafe"
    argv = ("qemu-system-x86_64", *options, "-kernel", kernel, "-initrd", initrd, "-append", command, "-drive", drive)
    done = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", timeout=seconds, stdin=subprocess.DEVNULL, check=False
    )
    results = {}
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            results[found.pop("name")] = found
    assert results, done.stdout[-3000:] + done.stderr[-1000:]
    return results
