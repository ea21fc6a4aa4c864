"""A detached file system: reached by a descriptor, attached in a mount namespace, gone with both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images.runner.engines import EngineName
from flyte_images_runtime.system.floating_mounts import FloatingMount
from flyte_images_runtime.system.mounts import in_own_namespace
from flyte_images_runtime.task.exchange import Exchange, make_exchange
from flyte_images_runtime.task.huge_pages import make_huge_pages

from . import warm_tasks

pytestmark = pytest.mark.engine  # and root, as the oci engine


@pytest.fixture
def made() -> Iterator[FloatingMount]:
    found = make_huge_pages("one")
    assert found is not None
    yield found
    found.close()


def mounts() -> list[str]:
    """Return the pages that only such file systems have. Others change with the rest of the machine."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "huge=within_size" in line]


def test_an_ordinary_user_has_no_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert make_huge_pages("one") is None


def test_it_is_visible_only_where_it_is_attached(made: FloatingMount, tmp_path: Path) -> None:
    before = mounts()
    (made.path / "in").mkdir()
    (made.path / "in" / "file").write_text("content")

    def inside() -> str:
        made.attach(tmp_path)
        return subprocess.run(
            ["cat", made.below(tmp_path, "in/file")], capture_output=True, text=True, check=True
        ).stdout

    assert in_own_namespace(inside) == "content"
    assert list(tmp_path.iterdir()) == []
    assert mounts() == before
    # the namespace is gone, and this process still has the file system
    (made.path / "in" / "later").write_text("content")


def test_a_closed_one_is_gone_and_not_confused_with_another(made: FloatingMount) -> None:
    path = made.path
    made.close()
    made.close()
    other = make_huge_pages("two")
    assert other is not None
    try:
        assert not path.exists()
        assert other.path.parent == path.parent  # the same descriptor number again
    finally:
        other.close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = make_exchange(large_pages=True)
    yield made
    made.remove()


@pytest.mark.parametrize("number", ["", "c1"])
def test_only_large_inputs_go_there(exchange: Exchange, number: str) -> None:
    assert exchange.large is not None
    with exchange.input_files(number) as files:
        for size, first in ((10, ""), (2 << 20, "m")):
            name, file = files.new("bin", size)
            with file:
                file.write(b"x")
            assert name.startswith(first + str(files._next))
    assert [path.name for path in (exchange.inputs / number).glob("*.bin")] == ["1.bin"]
    assert [path.name for path in (exchange.large.path / "in" / number).glob("*.bin")] == ["m2.bin"]


@pytest.mark.parametrize("reusable", [None, True])
def test_large_values_cross_in_it_both_ways(reusable: bool | None) -> None:
    before = mounts()
    run = flyte.run.using(on_line=None, engine="oci")
    blob = os.urandom(3 << 20)
    task = warm_tasks.turned.override(reusable=reusable)
    for _ in range(2):
        assert run(task, blob).result == blob[::-1]
    assert mounts() == before


@pytest.mark.parametrize("engine", ["docker", "oci"])
def test_very_large_arguments_are_written_while_the_container_starts(engine: EngineName) -> None:
    task = warm_tasks.turned.override(reusable=None, limits=flyte.Resources(memory="512Mi"))
    blob = os.urandom(1 << 20) * 65
    assert flyte.run.using(on_line=None, engine=engine)(task, blob).result == blob[::-1]
