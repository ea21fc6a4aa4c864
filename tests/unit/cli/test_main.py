"""The command line's promises: data on stdout, one message on stderr, exit codes. Only the builder is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from flyte_images import builder
from flyte_images.builder import BuildResult
from flyte_images.cli.main import main
from flyte_images.errors import BuildError, EngineError, Location, ResolveError
from flyte_images.image import Image

IMAGE = "import flyte_images as flyte\nimage = flyte.Image.from_debian_base('3.11')\n"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with two images, in the current directory; each test has another name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYTE_IMAGES_DEBUG", raising=False)
    name = f"app_{tmp_path.name.replace('-', '_')}.py"
    (tmp_path / name).write_text(IMAGE + "other = image.with_env_vars({'A': 'b'})\n")
    return name


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The calls of the builder; the reference of each image is `test/<name>:1`."""
    asked: list[dict[str, object]] = []

    def build_all(images: Mapping[str, Image], **options: object) -> list[BuildResult]:
        asked.append({"names": list(images), **options})
        return [
            BuildResult(
                name=name, ref=f"test/{name}:1", digest="sha256:d", plan="sha256:p", cached=True, seconds=0.1, base="b"
            )
            for name in images
        ]

    monkeypatch.setattr(builder, "build_all", build_all)
    return asked


def test_build_prints_one_reference_a_line(
    script: str, built: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", script]) == 0
    assert capsys.readouterr().out == "test/image:1\ntest/other:1\n"
    assert main(["build", script, "other", "--push", "--no-cache", "--builder", "unix:///x", "--progress=quiet"]) == 0
    assert capsys.readouterr().out == "test/other:1\n"
    options = {key: built[1][key] for key in ("names", "push", "no_cache", "builder", "upgrade")}
    assert options == {"names": ["other"], "push": True, "no_cache": True, "builder": "unix:///x", "upgrade": False}


def test_build_prints_one_document(
    script: str, built: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--json", script]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(it["name"], it["ref"], it["cached"]) for it in document["images"]] == [
        ("image", "test/image:1", True),
        ("other", "test/other:1", True),
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BuildError("step `x` failed", command="false", log="no\n"), 1),
        (ResolveError("no such package"), 1),
        (EngineError("no engine", hint="start one"), 3),
        (OSError(28, "No space left on device", "/full"), 1),
        (RuntimeError("we are wrong"), 1),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def fail(*_: object, **__: object) -> list[BuildResult]:
        raise error

    monkeypatch.setattr(builder, "build_all", fail)
    assert main(["build", script]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and "Traceback" not in err
    assert (str(error) in err) or ("no space left on device: `/full`" in err)


def test_an_internal_error_names_the_debug_variable(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> list[BuildResult]:
        raise RuntimeError("we are wrong")

    monkeypatch.setattr(builder, "build_all", fail)
    main(["build", script])
    assert "FLYTE_IMAGES_DEBUG=1" in capsys.readouterr().err
    monkeypatch.setenv("FLYTE_IMAGES_DEBUG", "1")
    main(["build", script])
    assert "Traceback" in capsys.readouterr().err


def test_an_error_with_a_location_shows_the_users_line(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> list[BuildResult]:
        raise BuildError("step failed", location=Location(str(Path(script).resolve()), 3))

    monkeypatch.setattr(builder, "build_all", fail)
    assert main(["build", script]) == 1
    assert f"error: {script}:3: step failed\n    other = image.with_env_vars" in capsys.readouterr().err


def test_with_json_progress_an_error_is_an_event_too(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> list[BuildResult]:
        place = Location(str(Path(script).resolve()), 3)
        raise BuildError("step failed", hint="mend it", location=place, command="false", log="no\n")

    monkeypatch.setattr(builder, "build_all", fail)
    assert main(["build", script, "--progress=json"]) == 1
    out, err = capsys.readouterr()
    event = json.loads(err)
    assert out == "" and event.pop("file").endswith(script)
    assert event == {
        "event": "error",
        "text": "step failed",
        "hint": "mend it",
        "exit_code": 1,
        "line": 3,
        "command": "false",
        "log": "no\n",
    }


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["biuld"], "`biuld` is not a command", "did you mean `build`?"),
        (["build"], "missing argument 'FILE'", "flyte-images build --help"),
        (["build", "x.py", "--pusch"], "no such option", "flyte-images build --help"),
        (["build", "x.py", "--progress", "loud"], "'loud' is not one of", "flyte-images build --help"),
        (["build", "x.py"], "the file `x.py` does not exist", None),
        (["show", "graph", "x.py", "-o", "x.gif"], "`x.gif` does not name a format", "end it in .dot"),
        (["show", "llb", "x.py", "--json", "--dot"], "--json and --dot exclude each other", "take one"),
        (["base", "build", "potato"], "unknown suite `potato`", "known suites: bookworm"),
    ],
)
def test_wrong_use_is_exit_code_2_with_a_remedy(
    script: str, capsys: pytest.CaptureFixture[str], args: list[str], message: str, hint: str | None
) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ")
    assert message in err
    assert hint is None or f"hint: {hint}" in err.replace("hint: there are ", "hint: ")


def test_help_and_version_are_data(capsys: pytest.CaptureFixture[str]) -> None:
    from flyte_images import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"flyte-images {__version__}\n"
    for args in ([], ["build"], ["show"], ["show", "plan"], ["base"], ["base", "ls"], ["doctor"], ["run"]):
        assert main([*args, "--help"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Usage: flyte-images") and err == ""


@pytest.mark.parametrize("args", [[], ["show"], ["base"]])
def test_a_group_without_a_command_shows_the_help_on_stderr(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Usage: flyte-images")


SLEEPY = """
import flyte_images.builder, signal, sys, time
def build_all(images, **options):
    try:
        print("begun", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        if "stubborn" in sys.argv[1]:
            print("cleaning", flush=True)
            time.sleep(60)
        raise
flyte_images.builder.build_all = build_all
from flyte_images.cli.main import main
sys.exit(main(["build", sys.argv[1]]))
"""


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    (folder / name).write_text(IMAGE)
    argv = (sys.executable, "-c", SLEEPY, name)
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_stops_and_names_the_activity(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with start(tmp_path, "app.py") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err.strip() == "stopped: build of image"


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    with start(tmp_path, "stubborn.py") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "ended at once; running steps may take a moment longer\n"


def test_a_reader_that_closes_stdout_causes_no_message() -> None:
    program = "import sys; from flyte_images.cli.main import main; sys.exit(main(['--help']))"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run((sys.executable, "-c", program), stdout=closed, stderr=subprocess.PIPE, timeout=20)
    assert (done.returncode, done.stderr) == (1, b"")
