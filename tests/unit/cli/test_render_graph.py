"""A drawing shows every step once, an arrow to each reader, and no step to the right of its readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from flyte_images.cli.render_graph import to_dot, to_svg
from flyte_images.image import Image
from flyte_images.plan import planner
from flyte_images.plan.model import Plan
from tests.fakes import values

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def plan() -> Plan:
    image = (
        Image.from_debian_base("3.11", platform="linux/amd64")
        .with_apt_packages("git")
        .with_pip_packages("torch", "six")
        .with_commands(['echo "<a & b>"'])
        .with_workdir("/srv")
    )
    return planner.plan(image, lock=values.locked(image), platform="linux/amd64", contents=values.contents(image))


def test_dot(plan: Plan, golden: Callable[[str, str], None]) -> None:
    golden("plan/drawing.dot", to_dot("app", plan).replace(plan.digest[:19], "sha256:..."))


def test_svg(plan: Plan, golden: Callable[[str, str], None]) -> None:
    golden("plan/drawing.svg", to_svg("app", plan).replace(plan.digest[:19], "sha256:..."))


def test_both_forms_show_the_same_boxes_and_arrows(plan: Plan) -> None:
    svg = ElementTree.fromstring(to_svg("app", plan))
    dot = to_dot("app", plan)
    titles = [title.text for title in svg.iter(f"{SVG}title")]
    assert len(titles) == len(plan.steps) + 2  # the base and the image
    assert 'echo "<a & b>"' in titles and "app" in titles
    assert len(list(svg.iter(f"{SVG}path"))) == dot.count(" -> ")
    assert dot.count("[label=") == len(titles)


def test_arrows_go_from_left_to_right(plan: Plan) -> None:
    for path in ElementTree.fromstring(to_svg("app", plan)).iter(f"{SVG}path"):
        numbers = [int(number) for number in re.findall(r"-?\d+", path.attrib["d"])]
        assert numbers[0] < numbers[-2]


def test_an_image_without_steps_can_be_drawn() -> None:
    image = Image.from_base("ubuntu:24.04", python_version="3.12", platform="linux/amd64")
    plan = planner.plan(image, lock=values.locked(image), platform="linux/amd64", contents=values.contents(image))
    assert "base -> image;" in to_dot("x", plan)
    assert to_svg("x", plan).count("<path") == 1
