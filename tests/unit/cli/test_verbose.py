"""-v logs what is asked of whom; no value of a secret and no login appears."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.cli.interrupt import Activity
from flyte_images.cli.main import main
from flyte_images.cli.verbose import configure
from flyte_images_runtime.system.diagnostics import DEBUG, LOGGER, log, timed

from ..house.test_imports import loaded


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


def test_each_request_is_logged_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure(1, Activity())
    with timed("asking %s", "the index"):
        log("a detail", level=DEBUG)
    begun, done = capsys.readouterr().err.splitlines()
    assert begun == "asking the index ..."
    assert done.startswith("asking the index: done in 0.")


def test_a_failure_is_logged_by_its_class_alone(capsys: pytest.CaptureFixture[str]) -> None:
    configure(1, Activity())
    with pytest.raises(ValueError), timed("asking"):
        raise ValueError("sesame")
    assert "asking: ValueError after" in (shown := capsys.readouterr().err)
    assert "sesame" not in shown


def test_no_secret_and_no_login_appears(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-sesame-1")
    monkeypatch.setenv("UV_INDEX_OURS_PASSWORD", "index-sesame-2")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://ada:url-sesame-3@index.test/simple")
    configure(2, Activity())
    log("%s %s %s", "hf-sesame-1", "index-sesame-2", "url-sesame-3")
    log("GET https://bob:sesame-4@elsewhere.test/x", level=DEBUG)
    shown = capsys.readouterr().err
    assert "sesame" not in shown
    assert "ada" not in shown and "bob" not in shown
    assert "GET https://***@elsewhere.test/x" in shown


def test_programs_get_objects(capsys: pytest.CaptureFixture[str]) -> None:
    activity = Activity()
    activity.events = True
    configure(1, activity)
    log("asking")
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["text"]) == ("debug", "asking")


@pytest.mark.parametrize("words", [["-v", "cache", "du"], ["cache", "du", "-v"], ["cache", "du", "-vv"]])
def test_each_verb_takes_the_option(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path))
    assert main(words) == 0
    assert logging.getLogger(LOGGER).level == (DEBUG if "-vv" in words else logging.INFO)


def test_without_the_option_logging_is_not_even_loaded() -> None:
    code = "from flyte_images_runtime.system.diagnostics import log, timed\nlog('x')\nwith timed('y'): pass"
    assert "logging" not in loaded(code)
    assert "logging" not in loaded("import flyte_images.builder, flyte_images.cli.build")
