"""The documents of --json have published schemas, and the verbs print documents of these schemas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flyte_images.cli.documents import DOCUMENTS, schema_of
from flyte_images.cli.main import main

from ..house.house import ROOT
from ..house.test_imports import loaded

SCHEMAS = ROOT / "docs" / "schemas"


def test_the_published_schemas_are_current() -> None:
    """`flyte-images schema NAME > docs/schemas/NAME.json` writes a schema again."""
    published = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")}
    assert published == {name: schema_of(name) for name in DOCUMENTS}


def test_the_verb_prints_a_schema_and_knows_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "ps"]) == 0
    assert json.loads(capsys.readouterr().out) == schema_of("ps")
    assert main(["schema"]) == 0
    assert capsys.readouterr().out.split() == list(DOCUMENTS)
    assert main(["schema", "bild"]) == 2
    assert "did you mean `build`?" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["ps", "runs", "cache ls", "cache du", "base ls"])
def test_what_a_verb_prints_fits_its_schema(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path))
    (tmp_path / "code" / "entry").mkdir(parents=True)
    assert main([*words.split(), "--json"]) == 0
    DOCUMENTS[words.replace(" ", "-")].model_validate_json(capsys.readouterr().out, strict=True)


def test_the_verbs_do_not_load_the_models() -> None:
    code = "from flyte_images.cli import build, cache, doctor, logs, ps, run, runs, show"
    assert not loaded(code) & {"pydantic", "flyte_images.cli.documents"}
