"""install_wheels.py as a build step runs it: wheels in, the same tree of files out, whatever the machine."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import marshal
import os
import py_compile
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

import flyte_images_layers.inside

PROGRAM = Path(flyte_images_layers.inside.__file__).with_name("install_wheels.py")
SITE = "lib/python{}.{}/site-packages".format(*sys.version_info[:2])
EPOCH = 315_532_800
VENV = "/opt/venv"
Content = str | bytes


@dataclass(frozen=True)
class Done:
    """The files and the output of a run of the program."""

    code: int
    said: str
    root: Path

    @property
    def venv(self) -> Path:
        return self.root / VENV.lstrip("/")

    @property
    def site(self) -> Path:
        return self.venv / SITE

    def files(self) -> dict[str, tuple[int, float, bytes]]:
        """Return mode, time and content of every file and folder, by path below the output."""
        return {
            str(path.relative_to(self.root)): (
                path.lstat().st_mode,
                path.lstat().st_mtime,
                b"" if path.is_dir() else path.read_bytes(),
            )
            for path in sorted(self.root.rglob("*"))
        }

    def distribution(self, name: str) -> Distribution:
        (found,) = (it for it in self.site.glob("*.dist-info") if it.name.startswith(f"{name}-"))
        return PathDistribution(found)


Install = Callable[..., Done]


def wheel(
    folder: Path, name: str, files: Mapping[str, Content], *, modes: Mapping[str, int] | None = None, info: bool = True
) -> Path:
    """Write a wheel with these files and with metadata."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    metadata: dict[str, Content] = {
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": about,
        f"{name}-1.0.dist-info/RECORD": "not,true,\n",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {**files, **(metadata if info else {})}.items():
            entry = zipfile.ZipInfo(member, (2001, 2, 3, 4, 5, 6))
            entry.external_attr = (modes or {}).get(member, 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Run the program on wheels, with a new output folder."""
    runs = iter(range(100))

    def run(*wheels: Path, cpus: set[int] | None = None, env: Mapping[str, str] | None = None) -> Done:
        root = tmp_path / f"out-{next(runs)}"
        root.mkdir()
        argv = (sys.executable, "-I", "-S", PROGRAM, str(root), VENV, str(EPOCH), *wheels)
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONHASHSEED": "0", **(env or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
        )
        return Done(done.returncode, done.stdout + done.stderr, root)

    return run


def code_of(path: Path) -> object:
    return marshal.loads(path.read_bytes()[16:])


def test_python_finds_an_installed_package(tmp_path: Path, install: Install) -> None:
    done = install(
        wheel(
            tmp_path, "alpha", {"alpha/__init__.py": "VALUE = 1\n", "alpha/data.txt": "text", "alpha/_x.so": b"\x7fELF"}
        )
    )
    assert (done.code, done.said) == (0, "")
    assert (done.site / "alpha/__init__.py").read_text() == "VALUE = 1\n"
    assert (done.site / "alpha/data.txt").read_text() == "text"
    loaded = subprocess.run(
        (
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(done.site)!r}); import alpha; print(alpha.VALUE)",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "1\n"


def test_time_and_modes_are_always_the_same(tmp_path: Path, install: Install) -> None:
    files = {"alpha/__init__.py": "", "alpha/tool.sh": "#!/bin/sh\n", "alpha/secret": "x"}
    modes = {"alpha/tool.sh": 0o100755, "alpha/secret": 0o100600}
    old = os.umask(0o077)
    try:
        done = install(wheel(tmp_path, "alpha", files, modes=modes))
    finally:
        os.umask(old)
    found = done.files()
    assert {time for _, time, _ in found.values()} == {EPOCH}
    assert {stat.S_IMODE(mode) for mode, _, _ in found.values() if stat.S_ISDIR(mode)} == {0o755}
    executable = {name for name, (mode, _, _) in found.items() if stat.S_ISREG(mode) and mode & 0o111}
    assert executable == {f"opt/venv/{SITE}/alpha/tool.sh"}
    assert {stat.S_IMODE(mode) for mode, _, _ in found.values() if stat.S_ISREG(mode)} == {0o644, 0o755}


def test_entry_points_become_scripts_of_the_environments_python(tmp_path: Path, install: Install) -> None:
    points = (
        "[console_scripts]\nalpha-Run = alpha.cli:main\nnested = alpha.cli : Tool.run [extra]\n"
        "[gui_scripts]\nalpha-gui = alpha:show\n[other.group]\nx = alpha:nothing\n"
    )
    done = install(wheel(tmp_path, "alpha", {"alpha/__init__.py": "", "alpha-1.0.dist-info/entry_points.txt": points}))
    assert sorted(path.name for path in (done.venv / "bin").iterdir()) == ["alpha-Run", "alpha-gui", "nested"]
    script = (done.venv / "bin/nested").read_text()
    assert script.startswith("#!/opt/venv/bin/python\n")
    assert "from alpha.cli import Tool\n" in script and "sys.exit(Tool.run())" in script
    assert os.access(done.venv / "bin/alpha-Run", os.X_OK)
    compile(script, "nested", "exec")


def test_the_data_folder_is_spread(tmp_path: Path, install: Install) -> None:
    files: dict[str, Content] = {
        "alpha/__init__.py": "",
        "alpha-1.0.data/purelib/alpha/pure.py": "",
        "alpha-1.0.data/platlib/alpha/native.so": b"x",
        "alpha-1.0.data/scripts/tool": "#!python -E\nprint(1)\n",
        "alpha-1.0.data/scripts/window": "#!pythonw\nprint(1)\n",
        "alpha-1.0.data/scripts/shell": "#!/bin/sh\n",
        "alpha-1.0.data/headers/alpha.h": "int x;",
        "alpha-1.0.data/data/share/alpha/notes": "n",
    }
    done = install(wheel(tmp_path, "alpha", files))
    assert done.code == 0, done.said
    assert (done.site / "alpha/pure.py").exists() and (done.site / "alpha/native.so").exists()
    assert (done.venv / "bin/tool").read_text() == "#!/opt/venv/bin/python -E\nprint(1)\n"
    assert (done.venv / "bin/window").read_text() == "#!/opt/venv/bin/python\nprint(1)\n"
    assert (done.venv / "bin/shell").read_text() == "#!/bin/sh\n"
    assert all(os.access(done.venv / "bin" / name, os.X_OK) for name in ("tool", "window", "shell"))
    assert (done.venv / "include/site/python{}.{}/alpha/alpha.h".format(*sys.version_info[:2])).exists()
    assert (done.venv / "share/alpha/notes").read_text() == "n"
    assert not (done.site / "alpha-1.0.data").exists()


def test_the_record_names_every_file_with_its_checksum(tmp_path: Path, install: Install) -> None:
    files = {
        "alpha/__init__.py": "x = 1\n",
        "alpha/with, comma.txt": "c",
        "alpha-1.0.data/scripts/tool": "#!python\n",
        "alpha-1.0.dist-info/RECORD.jws": "signature",
    }
    done = install(wheel(tmp_path, "alpha", files))
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO((done.site / "alpha-1.0.dist-info/RECORD").read_text()))}
    assert rows.pop("alpha-1.0.dist-info/RECORD") == ["", ""]
    assert "../../../bin/tool" in rows and "alpha/with, comma.txt" in rows
    assert not [name for name in rows if "RECORD" in name or name.endswith(".pyc")]
    for name, (checksum, size) in rows.items():
        content = (done.site / name).read_bytes()
        wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (checksum, size) == (f"sha256={wanted}", str(len(content)))
    assert (done.site / "alpha-1.0.dist-info/INSTALLER").read_text() == "flyte-images\n"
    assert {str(it) for it in done.distribution("alpha").files or ()} == {*rows, "alpha-1.0.dist-info/RECORD"}


def test_python_uses_the_byte_code_without_reading_the_source(tmp_path: Path, install: Install) -> None:
    source = "def f(a):\n    'doc'\n    return a + 1\n"
    done = install(wheel(tmp_path, "alpha", {"alpha/__init__.py": source}))
    compiled = done.site / f"alpha/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    (tmp_path / "own.py").write_text(source)
    own = py_compile.compile(
        str(tmp_path / "own.py"),
        cfile=str(tmp_path / "own.pyc"),
        dfile=f"{VENV}/{SITE}/alpha/__init__.py",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    assert own
    assert compiled.read_bytes()[:16] == Path(own).read_bytes()[:16]
    assert code_of(compiled) == code_of(Path(own))


def test_test_suites_inside_packages_are_not_compiled_and_packages_named_test_are(
    tmp_path: Path, install: Install
) -> None:
    names = ["alpha/__init__.py", "alpha/tests/test_a.py", "alpha/core/test/x.py", "alpha/testing.py", "tests/own.py"]
    done = install(wheel(tmp_path, "alpha", {**dict.fromkeys(names, "x = 1\n"), "alpha/tests.py": "y = 2\n"}))
    compiled = {str(path.relative_to(done.site)) for path in done.site.rglob("*.pyc")}
    tag = sys.implementation.cache_tag
    assert compiled == {
        f"alpha/__pycache__/__init__.{tag}.pyc",
        f"alpha/__pycache__/testing.{tag}.pyc",
        f"alpha/__pycache__/tests.{tag}.pyc",
        f"tests/__pycache__/own.{tag}.pyc",
    }


@pytest.mark.parametrize("source", ["print 'old'\n", "{% template %}", b"\xff\xfe", "x = 1\0", "# coding: nonsense\n"])
def test_a_file_that_does_not_compile_is_installed_without_byte_code(
    tmp_path: Path, install: Install, source: Content
) -> None:
    done = install(wheel(tmp_path, "alpha", {"alpha/__init__.py": "", "alpha/odd.py": source}))
    assert done.code == 0, done.said
    assert (done.site / "alpha/odd.py").exists()
    assert [path.name for path in done.site.rglob("*.pyc")] == [f"__init__.{sys.implementation.cache_tag}.pyc"]


def many(folder: Path) -> list[Path]:
    """Two wheels with enough modules and common names for the order of compiling to matter."""
    body = "import os\nSHARED = ('shared', {number})\n\ndef shared(name, value={number}):\n    return name, SHARED\n"
    return [
        wheel(
            folder,
            name,
            {f"{name}/m{number}.py": body.format(number=number) for number in range(23)} | {f"{name}/__init__.py": ""},
        )
        for name in ("alpha", "beta")
    ]


def test_the_same_wheels_give_the_same_bytes(tmp_path: Path, install: Install) -> None:
    wheels = many(tmp_path)
    first = install(*wheels)
    assert first.code == 0, first.said
    assert first.files() == install(*wheels).files()
    assert sum(1 for name in first.files() if name.endswith(".pyc")) == 48


def test_the_number_of_processors_changes_no_byte(tmp_path: Path, install: Install) -> None:
    wheels = many(tmp_path)
    mine = os.sched_getaffinity(0)
    assert install(*wheels, cpus={min(mine)}).files() == install(*wheels, cpus=mine).files()


def test_the_users_settings_of_python_change_no_byte(tmp_path: Path, install: Install) -> None:
    wheels = many(tmp_path)
    env = {"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/nowhere", "TZ": "Asia/Tokyo"}
    assert install(*wheels).files() == install(*wheels, env=env).files()


def test_a_wheel_gives_the_same_files_beside_another(tmp_path: Path, install: Install) -> None:
    """Its files, not its byte code, which may share constants with the byte code of its neighbor."""
    alpha, beta = many(tmp_path)
    alone = {name: it for name, it in install(alpha).files().items() if not name.endswith(".pyc")}
    beside = install(alpha, beta).files()
    assert {name: beside[name] for name in alone} == alone


def test_of_two_wheels_with_one_file_the_later_wins_and_both_record_it(tmp_path: Path, install: Install) -> None:
    one = wheel(tmp_path, "alpha", {"shared/__init__.py": "WHO = 'alpha'", "shared/run": "1"})
    two = wheel(
        tmp_path, "beta", {"shared/__init__.py": "WHO = 'beta'", "shared/run": "2"}, modes={"shared/run": 0o755}
    )
    for order, seen, mode in (((one, two), "beta", 0o755), ((two, one), "alpha", 0o644)):
        done = install(*order)
        assert done.code == 0, done.said
        assert (done.site / "shared/__init__.py").read_text() == f"WHO = '{seen}'"
        assert stat.S_IMODE((done.site / "shared/run").stat().st_mode) == mode
        (cached,) = (done.site / "shared/__pycache__").iterdir()
        assert seen.encode() in cached.read_bytes()
        for name in ("alpha", "beta"):
            recorded = {str(path) for path in done.distribution(name).files or ()}
            assert {"shared/__init__.py", "shared/run", f"{name}-1.0.dist-info/RECORD"} <= recorded
            assert not any(path.startswith({"alpha": "beta", "beta": "alpha"}[name]) for path in recorded)


BAD: dict[str, tuple[Mapping[str, Content], str]] = {
    "out of site-packages": ({"../../../../etc/passwd": "x"}, "a path outside of the environment"),
    "out, from inside": ({"alpha/../../x": "x"}, "a path outside of the environment"),
    "absolute": ({"/etc/passwd": "x"}, "a path outside of the environment"),
    "data out": ({"alpha-1.0.data/data/../../../etc/x": "x"}, "a path outside of the environment"),
    "data absolute": ({"alpha-1.0.data/data//etc/x": "x"}, "a path outside of the environment"),
    "scripts out": ({"alpha-1.0.data/scripts/../../x": "x"}, "a path outside of the environment"),
    "headers out": ({"alpha-1.0.data/headers/../../../../../../x": "x"}, "a path outside of the environment"),
    "unknown scheme": ({"alpha-1.0.data/binaries/x": "x"}, "an unknown scheme key: binaries"),
    "script out": (
        {"alpha-1.0.dist-info/entry_points.txt": "[console_scripts]\n../../x = a:b\n"},
        "a path outside of the environment",
    ),
    "entry points that are not an ini file": (
        {"alpha-1.0.dist-info/entry_points.txt": "no section"},
        "cannot be installed",
    ),
    "entry points that are not text": ({"alpha-1.0.dist-info/entry_points.txt": b"\xff"}, "cannot be installed"),
    "a file where a folder is": ({"alpha": "x", "alpha/__init__.py": ""}, "cannot be installed"),
    "a second wheel inside": ({"beta-1.0.dist-info/WHEEL": "x"}, "it has more than one .dist-info folder of its own"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_wheel_is_refused_with_a_reason(what: str, tmp_path: Path, install: Install) -> None:
    files, told = BAD[what]
    done = install(wheel(tmp_path, "alpha", files))
    assert done.code == 1
    assert re.fullmatch(r"alpha-1\.0-py3-none-any\.whl cannot be installed: [^\n]+\n", done.said), done.said
    assert told in done.said
    outside = {path for path in tmp_path.rglob("*") if path.name in ("passwd", "x") and done.venv not in path.parents}
    assert outside == set()


def test_a_wheel_without_metadata_is_refused(tmp_path: Path, install: Install) -> None:
    done = install(wheel(tmp_path, "alpha", {"alpha/__init__.py": ""}, info=False))
    assert (done.code, done.said) == (
        1,
        "alpha-1.0-py3-none-any.whl cannot be installed: it has no .dist-info folder of its own\n",
    )


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_file_that_is_not_a_zip_is_refused(cut: int, tmp_path: Path, install: Install) -> None:
    path = wheel(tmp_path, "alpha", {"alpha/__init__.py": "x = 1\n" * 100})
    path.write_bytes(path.read_bytes()[:cut])
    done = install(path)
    assert done.code == 1
    assert done.said.startswith("alpha-1.0-py3-none-any.whl cannot be installed: ")
    assert "Traceback" not in done.said


def test_a_damaged_member_is_refused(tmp_path: Path, install: Install) -> None:
    path = wheel(tmp_path, "alpha", {"alpha/__init__.py": "x = 1\n" * 100})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("alpha/__init__.py")
    start = entry.header_offset + 30 + len(entry.filename)
    for at in range(start, start + entry.compress_size):
        data[at] ^= 0xFF
    path.write_bytes(data)
    done = install(path)
    assert done.code == 1
    assert done.said.startswith("alpha-1.0-py3-none-any.whl cannot be installed: ")
    assert "Traceback" not in done.said


def test_a_missing_file_is_named(tmp_path: Path, install: Install) -> None:
    done = install(tmp_path / "gone-1.0-py3-none-any.whl")
    assert done.code == 1
    assert done.said.startswith("gone-1.0-py3-none-any.whl cannot be installed: ") and "Traceback" not in done.said


def test_a_link_in_a_wheel_is_a_file(tmp_path: Path, install: Install) -> None:
    done = install(wheel(tmp_path, "alpha", {"alpha/link": "/etc/passwd"}, modes={"alpha/link": 0o120777}))
    assert not (done.site / "alpha/link").is_symlink()
    assert (done.site / "alpha/link").read_text() == "/etc/passwd"


def test_no_wheels_give_no_files(install: Install) -> None:
    done = install()
    assert (done.code, done.said, done.files()) == (0, "", {})


def test_a_failure_of_byte_compiling_is_reported(tmp_path: Path) -> None:
    """Byte-compiling runs in other processes; the program reports their failures."""
    path = wheel(tmp_path, "alpha", {"alpha/__init__.py": "x = 1\n"})
    root = tmp_path / "out"
    cache = root / VENV.lstrip("/") / SITE / "alpha" / "__pycache__"
    cache.parent.mkdir(parents=True)
    cache.write_text("a file, where a folder is to be")
    argv = (sys.executable, "-I", "-S", PROGRAM, str(root), VENV, str(EPOCH), path)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "File exists" in done.stderr and done.stderr.endswith("byte-compiling ended early\n")
    assert "Traceback" not in done.stderr


def test_a_module_whose_byte_code_would_have_too_long_a_name_is_not_compiled(tmp_path: Path, install: Install) -> None:
    """D32: with the suffix of byte code the name is too long for a file system; pip skips such a module too."""
    long = "m" * 250 + ".py"
    done = install(wheel(tmp_path, "alpha", {f"alpha/{long}": "x = 1\n", "alpha/short.py": "x = 1\n"}))
    assert (done.code, done.said) == (0, "")
    assert (done.site / "alpha" / long).read_text() == "x = 1\n"
    assert [path.name.partition(".")[0] for path in (done.site / "alpha/__pycache__").iterdir()] == ["short"]


def test_warnings_about_packages_are_not_printed(tmp_path: Path, install: Install) -> None:
    done = install(wheel(tmp_path, "alpha", {"alpha/__init__.py": "x = '\\d'\nassert (1, 'always true')\n"}))
    assert (done.code, done.said) == (0, "")


def test_a_large_file_is_not_held_in_memory(install: Install, tmp_path: Path) -> None:
    """D22: the peak of the program is megabytes, whatever a member of a wheel holds."""
    large = wheel(tmp_path, "large", {"large/data": bytes(60 << 20), "large/__init__.py": ""})
    code = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]; before = resource.getrusage(0).ru_maxrss\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "print(resource.getrusage(0).ru_maxrss - before)"
    )
    out = tmp_path / "out"
    argv = (sys.executable, "-I", "-S", "-c", code, PROGRAM, out, VENV, str(EPOCH), large)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30 << 10  # KiB
    assert (out / VENV[1:] / SITE / "large/data").stat().st_size == 60 << 20


def test_a_wheel_that_unpacks_to_far_more_than_its_size_is_refused(install: Install, tmp_path: Path) -> None:
    """D22: a wheel of 3 MB that unpacks to 3 GiB is refused before it is unpacked (here a smaller one)."""
    bomb = wheel(tmp_path, "bomb", {"bomb/data": bytes(70 << 20), "bomb/__init__.py": ""})
    done = install(bomb)
    assert done.code == 1 and not done.site.exists()
    assert re.search(
        r"bomb-1.0-py3-none-any.whl cannot be installed: it unpacks to \d+ bytes, more than 100", done.said
    )


def test_entry_points_of_many_megabytes_are_refused(install: Install, tmp_path: Path) -> None:
    """D22"""
    text = "[console_scripts]\n" + "#" * (1 << 20)
    done = install(wheel(tmp_path, "many", {"many.py": "", "many-1.0.dist-info/entry_points.txt": text}))
    assert done.code == 1 and "its many-1.0.dist-info/entry_points.txt has more than 1048576 bytes" in done.said
