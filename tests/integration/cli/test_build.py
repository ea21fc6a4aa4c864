"""flyte-images build on the real engine: its output and its exit codes."""

from __future__ import annotations

import json
import os
import pty
import secrets
import signal
import subprocess
import sys
import time

import pytest

from ...fakes.package_index import Index
from .conftest import Shell, document

HEAVY = ("grpc", "google.protobuf", "pydantic", "rich", "yaml", "asyncio", "ssl", "subprocess", "http.client")
pytestmark = pytest.mark.engine


def unique(text: str = "") -> str:
    """Return a layer that no engine has built."""
    return f'.with_env_vars({{"TEST": "{secrets.token_hex(8)}"}}){text}'


def inside(reference: str, *argv: str) -> str:
    """Return the output of a program in that image."""
    command = ("docker", "run", "--rm", "--network=none", reference, *argv)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_image_is_built_and_its_reference_runs(shell: Shell, index: Index) -> None:
    index.add("bottom", "2.5")
    index.add("top", requires=["bottom>=2"])
    shell.write("app.py", f'image = flyte.Image.from_debian_base().with_pip_packages("top"){unique()}')
    done = shell("build", "app.py")
    assert done.returncode == 0, done.stderr
    [reference] = done.stdout.split()
    assert inside(reference, "python", "-c", "import top, bottom; print(top.VERSION, bottom.VERSION)") == "1.0 2.5"


def test_a_second_build_is_the_same_image_and_loads_nothing_heavy(shell: Shell) -> None:
    shell.write("app.py", f"image = flyte.Image.from_debian_base(){unique()}")
    first = shell("build", "app.py")
    assert first.returncode == 0, first.stderr
    code = (
        "import sys\nfrom flyte_images.cli.main import main\ncode = main(['build', 'app.py'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\nsys.exit(code)"
    )
    argv = (sys.executable, "-c", code)
    second = subprocess.run(argv, cwd=shell.folder, env=shell.environ({}), capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout + "[]\n"
    assert "up to date" in second.stderr


def test_several_images_are_built_at_once(shell: Shell) -> None:
    shell.write("app.py", f"a = flyte.Image.from_debian_base(){unique()}\nb = flyte.Image.from_debian_base(){unique()}")
    done = shell("build", "app.py", "--json", "--progress=json")
    assert done.returncode == 0, done.stderr
    images = document("build", done.stdout)["images"]
    assert [it["name"] for it in images] == ["a", "b"]
    assert len({it["ref"] for it in images}) == 2
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {(it["image"], it["reference"]) for it in events if it["event"] == "image"} == {
        (it["name"], it["ref"]) for it in images
    }


def test_a_failed_command_shows_its_line_and_its_output(shell: Shell) -> None:
    shell.write(
        "app.py", f'image = (\n    flyte.Image.from_debian_base(){unique()}\n    .with_commands(["echo a; ech b"])\n)'
    )
    done = shell("build", "app.py")
    assert (done.returncode, done.stdout) == (1, "")
    error = done.stderr[done.stderr.index("error: ") :]
    assert error.startswith("error: app.py:5: ")
    assert '.with_commands(["echo a; ech b"])' in error
    assert "  | a\n" in error and "ech: not found" in error
    assert "Traceback" not in done.stderr and "settled.sh" not in error
    shell.write("app.py", (shell.folder / "app.py").read_text().replace("ech b", "echo b").partition("\n\n")[2])
    assert shell("build", "app.py").returncode == 0


def other_platform(index: Index) -> str:
    index.add("elsewhere", tag="cp39-cp39-win_amd64")
    return '.with_pip_packages("elsewhere")'


def conflict(index: Index) -> str:
    index.add("shared", "1.0")
    index.add("shared", "2.0")
    index.add("left", requires=["shared<2"])
    index.add("right", requires=["shared>=2"])
    return '.with_pip_packages("left", "right")'


def mismatch(index: Index) -> str:
    name = f"liar-{secrets.token_hex(4)}"  # the engine has seen no file of that name
    index.lies.add(index.add(name))
    return f'.with_pip_packages("{name}")'


@pytest.mark.parametrize(
    ("layer", "code", "words"),
    [
        (lambda index: '.with_pip_packages("no-such-thing")', 1, ["no-such-thing", "app.py:3"]),
        (conflict, 1, ["left", "right", "shared", "app.py:3"]),
        (other_platform, 1, ["elsewhere", "app.py:3"]),
        (mismatch, 1, ["liar", "app.py:3"]),
        (lambda index: '.with_source_folder("nowhere")', 2, ["nowhere", "app.py:3"]),
        (lambda index: '.with_pip_packages("pandas; rm -rf /")', 2, ["pandas; rm -rf /", "app.py:3"]),
        (lambda index: '.with_apt_packages("no-such-package")', 1, ["no-such-package", "app.py:3"]),
        (
            lambda index: ".with_pip_packages('x', index_url='http://127.0.0.1:9/simple')",
            1,
            ["127.0.0.1:9", "app.py:3"],
        ),
    ],
    ids=[
        *("unknown package", "conflict", "other platform", "checksum", "missing folder", "injection"),
        *("unknown deb", "index unreachable"),
    ],
)
def test_bad_input_is_one_clear_error_and_the_next_build_succeeds(
    shell: Shell, index: Index, layer: object, code: int, words: list[str]
) -> None:
    assert callable(layer)
    good = f"image = flyte.Image.from_debian_base(){unique()}"
    shell.write("app.py", good + layer(index))
    done = shell("build", "app.py", UV_HTTP_RETRIES="0")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    error = done.stderr[done.stderr.index("error: ") :]
    assert error.count("error: ") == 1 and "Traceback" not in error
    assert [word for word in words if word not in error] == []
    assert "hint: " in error
    shell.write("app.py", good)
    assert shell("build", "app.py").returncode == 0


def test_no_engine_is_exit_code_3_with_the_fix(shell: Shell) -> None:
    shell.write("app.py", f"image = flyte.Image.from_debian_base(){unique()}")
    done = shell("build", "app.py", DOCKER_HOST=f"unix://{shell.folder}/none.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert "none.sock" in done.stderr and "hint: " in done.stderr


def test_interrupt_ends_the_running_step(shell: Shell) -> None:
    mark = secrets.token_hex(8)
    shell.write("app.py", f'image = flyte.Image.from_debian_base().with_commands(["echo {mark}; sleep 300"])')
    with shell.start("build", "app.py", "--progress=plain") as process:
        assert process.stderr is not None
        while f"| {mark}" not in (line := process.stderr.readline()):
            assert line, "the build ended before its command began"
        assert running(mark)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rest.rstrip().endswith("stopped: build of image")
    deadline = time.monotonic() + 20
    while running(mark):
        assert time.monotonic() < deadline, "the command still runs"
        time.sleep(0.1)


def running(mark: str) -> bool:
    """Return whether a process with that word among its arguments runs on this machine."""
    found = subprocess.run(("pgrep", "-f", f"echo {mark}"), capture_output=True, text=True)
    return found.returncode == 0


def test_a_terminal_gets_bars_and_a_pipe_the_reference(shell: Shell) -> None:
    shell.write("app.py", f'image = flyte.Image.from_debian_base(){unique()}.with_commands(["sleep 2"])')
    shell.env |= {"TERM": "xterm-256color", "CI": ""}
    ours, theirs = pty.openpty()
    with shell.start("build", "app.py", stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # the other side has been closed
                break
            if not data:
                break
            shown += data
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, shown.decode(errors="replace")
    assert out.startswith("docker.io/library/") and out.count("\n") == 1
    text = shown.decode()
    assert "━" in text and "sleep 2" in text and "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor stays hidden"
