"""The rendering of errors for people."""

import io
from pathlib import Path

import pytest

from flyte_images.cli.errors import render_error
from flyte_images.errors import BuildError, FlyteImagesError, Location, ResolveError, SpecError


def rendered(error: FlyteImagesError) -> str:
    stream = io.StringIO()
    render_error(error, stream, env={})
    return stream.getvalue()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "app.py"
    path.write_text('image = (\n    base.with_pip_packages("pandas", "a b")\n)\n')
    return path


def test_spec_error_points_at_the_value_in_the_line_of_the_user(script: Path) -> None:
    error = SpecError("not a requirement: `a b`", hint="write one name an argument", location=Location(str(script), 2))
    assert rendered(error) == (
        "error: app.py:2: not a requirement: `a b`\n"
        '    base.with_pip_packages("pandas", "a b")\n'
        "                                      ~~^\n"
        "\n"
        "hint: write one name an argument\n"
    )


def test_build_error_shows_command_and_the_end_of_the_log_without_control_characters(script: Path) -> None:
    log = "".join(f"line {n}\n" for n in range(1, 31)) + "\x1b[31mboom\x1b[0m\n\n"
    error = BuildError(
        "step `commands` failed", command="sh -c 'exit 3'\x07", log=log, location=Location(str(script), 2)
    )
    lines = rendered(error).splitlines()
    assert lines[2] == "        " + "~" * 34 + "^"  # the call, as the message quotes nothing of the line
    assert lines[3:6] == [r"command: sh -c 'exit 3'\x07", "log (last 20 of 31 lines):", "  | line 12"]
    assert lines[-1] == r"  | \x1b[31mboom\x1b[0m"


def test_an_explanation_of_many_lines_stays_readable() -> None:
    error = ResolveError("no solution\nBecause a needs b\x1b[2J\n\nwe give up", hint="loosen one\nor the other")
    assert rendered(error) == (
        "error: no solution\n  Because a needs b\\x1b[2J\n\n  we give up\n\nhint: loosen one\n      or the other\n"
    )


def test_an_error_without_location_or_hint_is_one_line() -> None:
    assert rendered(FlyteImagesError("broken")) == "error: broken\n"


def test_an_empty_error_shows_its_class() -> None:
    assert rendered(SpecError("")) == "error: SpecError\n"


@pytest.mark.parametrize("line", [0, 1, 999])
def test_a_location_whose_line_cannot_be_read_is_named(tmp_path: Path, line: int) -> None:
    gone = Location(str(tmp_path / "gone.py"), line)
    assert rendered(SpecError("bad", location=gone)) == f"error: {tmp_path}/gone.py:{line}: bad\n"


def test_a_file_that_is_not_text_is_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_bytes(b"\xff\xfe\x00\n\x1b[2J\n")
    assert rendered(SpecError("bad", location=Location(str(path), 2))).startswith(f"error: {path}:2: bad\n")
    assert "\x1b" not in rendered(SpecError("bad", location=Location(str(path), 2)))
