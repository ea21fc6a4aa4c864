"""show, lock, base and doctor as users run them."""

from __future__ import annotations

import json
import os
import re
from xml.etree import ElementTree

import pytest

from ...fakes.package_index import Index
from .conftest import Shell, document

pytestmark = pytest.mark.engine


@pytest.fixture
def app(shell: Shell, index: Index) -> Shell:
    """A file with one image; its base is known, so no test below needs an engine."""
    index.add("bottom", "2.5")
    index.add("top", requires=["bottom>=2"])
    image = 'flyte.Image.from_debian_base().with_pip_packages("top").with_env_vars({"MODE": "fast"})'
    shell.write("app.py", f"image = {image}")
    assert shell("show", "plan", "app.py").returncode == 0
    return shell


def test_the_plan_needs_no_engine(app: Shell) -> None:
    app.env["DOCKER_HOST"] = "unix:///nowhere.sock"
    text = app("show", "plan", "app.py")
    assert text.returncode == 0, text.stderr
    assert "bottom 2.5" in text.stdout and "app.py:3" in text.stdout and "MODE=fast" in text.stdout
    [image] = document("show-plan", app("show", "plan", "app.py", "--json").stdout)["images"]
    assert image["digest"] in text.stdout
    wheels = [wheel["name"] for step in image["steps"] for wheel in step.get("wheels", ())]
    assert sorted(wheels) == ["bottom", "top"]


def test_the_graph_needs_no_engine_and_is_what_a_build_solves(app: Shell) -> None:
    offline = {"DOCKER_HOST": "unix:///nowhere.sock"}
    document = json.loads(app("show", "llb", "app.py", "--json", **offline).stdout)
    built = app("build", "app.py", "--progress=json", "--no-cache")
    assert built.returncode == 0, built.stderr
    known = json.dumps(document)
    events = [json.loads(line) for line in built.stderr.splitlines()]
    steps = {it["step"] for it in events if it["event"] == "step" and "exporting" not in it["name"]}
    ours = {step for step in steps if re.fullmatch(r"sha256:[0-9a-f]{64}", step)}
    assert ours and all(step in known for step in ours)
    assert app("show", "llb", "app.py", "--dot", **offline).stdout.startswith("digraph")


def test_the_drawing_is_written_to_the_named_file(app: Shell) -> None:
    done = app("show", "graph", "app.py", "-o", "plan.svg")
    assert (done.returncode, done.stdout) == (0, "")
    ElementTree.parse(app.folder / "plan.svg")
    done = app("show", "graph", "app.py", "--format", "png", "-o", "plan.png", PATH="/nowhere")
    assert done.returncode == 2 and "Graphviz" in done.stderr and not (app.folder / "plan.png").exists()


def test_a_lock_is_written_and_checked(app: Shell) -> None:
    assert app("lock", "app.py", "--check").returncode == 2
    done = app("lock", "app.py")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.strip().endswith("flyte-images.lock") and "bottom" in (app.folder / "flyte-images.lock").read_text()
    )
    assert app("lock", "app.py", "--check").returncode == 0


def test_with_several_images_show_needs_a_name(shell: Shell) -> None:
    shell.write("app.py", "a = flyte.Image.from_debian_base()\nb = a.with_workdir('/b')")
    done = shell("show", "llb", "app.py")
    assert done.returncode == 2
    assert "`a`, `b`" in done.stderr and "show ... app.py a" in done.stderr


def test_existing_bases_are_listed(app: Shell) -> None:
    bases = document("base-ls", app("base", "ls", "--json").stdout)["bases"]
    lines = app("base", "ls").stdout.splitlines()
    assert len(bases) == len(lines)
    for base, line in zip(bases, lines, strict=True):
        assert base["digest"] in line and base["suite"] in line


def test_doctor_reports_what_works(shell: Shell, index: Index) -> None:
    index.add("pip", "99.9")
    done = shell("doctor", "--json")
    findings = document("doctor", done.stdout)["findings"]
    areas = {finding["area"]: finding for finding in findings}
    assert done.returncode == 0, [it for it in findings if it["state"] == "failed"]
    assert areas["buildkit"]["state"] == "ok" and "pip 99.9" in areas["index"]["what"]
    assert areas["limits"]["state"] == "ok" and "memory" in areas["limits"]["what"]
    assert {"podman", "nerdctl", "oci"} <= set(areas)
    assert "podman version" in areas["podman"]["what"] and "runc" in areas["oci"]["what"]


def test_doctor_reports_problems_with_a_fix(shell: Shell) -> None:
    broken = {"DOCKER_HOST": f"unix://{shell.folder}/none.sock", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    done = shell("doctor", "--json", **broken, FLYTE_IMAGES_CACHE=os.devnull)
    assert done.returncode == 3
    failed = {it["area"]: it for it in json.loads(done.stdout)["findings"] if it["state"] == "failed"}
    assert {"buildkit", "index", "cache"} <= set(failed)
    assert all(it["fix"] for it in failed.values())
    secret = {"HTTPS_PROXY": "http://ada:secret@127.0.0.1:9", "SSL_CERT_FILE": "/nowhere.pem"}
    text = shell("doctor", **broken, **secret, FLYTE_IMAGES_CACHE=os.devnull)
    assert "HTTPS_PROXY" in text.stdout and "/nowhere.pem" in text.stdout and "secret" not in text.stdout
    assert "✗ buildkit" in text.stdout and "fix: " in text.stdout
