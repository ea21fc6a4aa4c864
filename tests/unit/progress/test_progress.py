"""Event lists as BuildKit sends them -> displayed lines."""

import io
import json
import subprocess
import sys

import pytest

from flyte_images.buildkit.events import Event, Vertex, VertexLog, VertexStatus
from flyte_images.progress import Progress, chosen_mode

# Two builds of one graph, shortened to the essentials: a group of two vertices over a base, then a command.
BASE = Vertex(digest="base", name="debian 12")
WHEEL = Vertex(digest="wheel", name="pandas", group_id="g", group_name="pip packages")
MERGE = Vertex(digest="merge", name="merge", inputs=("base", "wheel"), group_id="g", group_name="pip packages")
RUN = Vertex(digest="run", name="useradd app", inputs=("merge",))


def at(vertex: Vertex, started: float, completed: float | None = None, **fields: object) -> Vertex:
    values = {name: getattr(vertex, name) for name in ("digest", "name", "inputs", "group_id", "group_name")}
    return Vertex(**values, started=started, completed=completed, **fields)


def looked_up() -> list[Event]:
    """All vertices become known; only sources have a look-up."""
    sources = (BASE, WHEEL)
    return [*sources, MERGE, RUN, *(at(v, 0.0) for v in sources), *(at(v, 0.0, 0.001) for v in sources)]


def shown(events: list[Event], mode: str = "plain", *, succeeded: bool = True, **images: list[Event]) -> str:
    stream = io.StringIO()
    with Progress(mode, stream, env={}) as progress:
        sinks = {name: progress.image(name) for name in ("app", *images)}
        for name, some in {"app": events, **images}.items():
            for event in some:
                sinks[name](event)
        if succeeded:
            progress.summary("app", reference="app:1", seconds=2.5, size=1_500_000)
    return stream.getvalue()


def test_look_up_in_the_cache_is_not_a_step_that_ran() -> None:
    cached = at(RUN, 0.1, 0.1, cached=True)
    assert shown([*looked_up(), cached]).splitlines() == [
        "pip packages: cached",
        "debian 12: cached",
        "useradd app: cached",
        "app: 0 built, 3 cached, 2.5 s, 1.5 MB, app:1",
    ]


def test_steps_start_print_and_end_by_the_clock_of_the_engine() -> None:
    events = [
        *looked_up(),
        at(BASE, 1000.0, 1000.0, cached=True),
        at(WHEEL, 1000.0),
        VertexLog(vertex="wheel", stream=2, data=b"unpacking"),
        VertexLog(vertex="wheel", stream=2, data=b" pandas\n"),
        at(WHEEL, 1000.0, 1002.0),
        at(MERGE, 1002.5),
        at(MERGE, 1002.5, 1003.5),
        at(RUN, 1003.5),
        at(RUN, 1003.5, 1003.6),
    ]
    assert shown(events).splitlines() == [
        "debian 12: cached",
        "pip packages: started",
        "pip packages | unpacking pandas",
        "pip packages: done in 3.0 s",
        "useradd app: started",
        "useradd app: done in 0.1 s",
        "app: 2 built, 1 cached, 2.5 s, 1.5 MB, app:1",
    ]


def test_a_failure_cancels_other_steps_and_comes_after_its_last_output() -> None:
    events = [*looked_up(), at(RUN, 1.0), VertexLog(vertex="run", stream=1, data=b"last words"), at(WHEEL, 1.0, 1.5)]
    events += [at(WHEEL, 1.5), at(WHEEL, 1.5, 2.0, error="context canceled"), at(RUN, 1.0, 2.0, error="exit code: 1")]
    assert shown(events, succeeded=False).splitlines()[2:] == [
        "useradd app: started",
        "pip packages: started",
        "useradd app | last words",
        "useradd app: failed after 1.0 s: exit code: 1",
        "pip packages: canceled",
    ]


def test_canceled_is_not_failed_and_steps_that_never_began_are_not_shown() -> None:
    events = [*looked_up()[:4], at(WHEEL, 1.0), VertexLog(vertex="wheel", stream=1, data=b"x\n")]
    lines = shown(events, succeeded=False).splitlines()
    assert lines == ["pip packages: started", "pip packages | x", "pip packages: canceled"]


def test_a_run_that_is_given_up_in_a_successful_build_is_cached() -> None:
    events = [*looked_up(), at(WHEEL, 1.0), at(WHEEL, 1.0, 1.5, error="context canceled")]
    assert "pip packages: cached" in shown(events).splitlines()


def test_a_cached_step_that_is_checked_again_is_shown_once() -> None:
    known = at(BASE, 0.5, 0.5, cached=True)
    again = [at(BASE, 1.0, cached=True), at(BASE, 1.0, 1.5, cached=True)]
    assert shown([*looked_up(), known, *again]).count("debian 12") == 1


def test_the_output_of_a_shared_step_is_shown_once_with_its_image() -> None:
    events: list[Event] = [*looked_up(), at(RUN, 1.0), VertexLog(vertex="run", stream=1, data=b"hello\n")]
    lines = shown(events, other=events).splitlines()
    assert [line for line in lines if "hello" in line] == ["app > useradd app | hello"]
    assert "other > useradd app: started" in lines


def test_escape_sequences_of_a_step_do_not_reach_the_terminal() -> None:
    evil = b"\x1b[2J\x1b]0;title\x07\xff\xfe\x9b31mred\r\n\x1b]never ended\n\xe2\x80\xaeabc\x00\x08\n50%\r100%\n"
    text = shown([at(Vertex(digest="a", name="a\x1b[31m\nb"), 1.0), VertexLog(vertex="a", stream=1, data=evil)])
    assert "\x1b" not in text
    assert not any(ord(c) < 32 for c in text.replace("\n", ""))
    assert [line for line in text.splitlines() if "|" in line][1:] == [
        rf"a\x1b[31m b | {line}" for line in (r"\x1b]never ended", r"\u202eabc\x00\x08", "100%")
    ]


def test_unnamed_vertices_of_the_engine_are_not_shown() -> None:
    inner = Vertex(digest="z", name="sha256:0123", started=1.0, completed=1.5)
    assert "sha256" not in shown([inner])
    failed = Vertex(digest="z", name="sha256:0123", started=1.0, completed=1.5, error="disk full")
    assert "sha256:0123: failed after 0.5 s: disk full" in shown([failed])


def test_exporting_is_shown_but_is_neither_built_nor_cached() -> None:
    text = shown([Vertex(digest="x", name="exporting to image", started=1.0, completed=1.5)])
    assert text.splitlines() == ["exporting to image: done in 0.5 s", "app: up to date, 2.5 s, 1.5 MB, app:1"]


def test_json_is_one_documented_object_a_line() -> None:
    moving = VertexStatus(vertex="wheel", id="w", name="w", current=10, total=20)
    moved = VertexStatus(vertex="wheel", id="w", name="w", current=20, total=20, completed=2.0)
    events = [*looked_up(), at(WHEEL, 1.0), moving, moved, VertexLog(vertex="wheel", stream=2, data=b"\x1b[1mhi\n")]
    events += [at(WHEEL, 1.0, 2.0, error="boom")]
    objects = [json.loads(line) for line in shown(events, "json").splitlines()]
    step = {"image": "app", "step": "group:g"}
    assert objects == [
        {"event": "step", **step, "name": "pip packages", "state": "started"},
        {"event": "transfer", **step, "current": 10, "total": 20},
        {"event": "transfer", **step, "current": 20, "total": 20},
        {"event": "log", **step, "stream": "stderr", "text": r"\x1b[1mhi"},
        {"event": "step", **step, "name": "pip packages", "state": "failed", "seconds": 1.001, "error": "boom"},
        {"event": "step", "image": "app", "step": "base", "name": "debian 12", "state": "cached", "seconds": 0.001},
        {
            "event": "image",
            "image": "app",
            "reference": "app:1",
            "built": 0,
            "cached": 1,
            "seconds": 2.5,
            "size": 1500000,
        },
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "mode"),
    [
        (Terminal(), {"TERM": "xterm"}, "tty"),
        (Terminal(), {"TERM": "xterm", "CI": "true"}, "plain"),
        (Terminal(), {"TERM": "dumb"}, "plain"),
        (Terminal(), {}, "plain"),
        (io.StringIO(), {"TERM": "xterm"}, "plain"),
    ],
)
def test_auto_means_bars_only_on_a_terminal_that_can_draw_them(
    stream: io.StringIO, env: dict[str, str], mode: str
) -> None:
    assert chosen_mode("auto", stream, env) == mode


def test_a_short_build_on_a_terminal_prints_lines_without_loading_rich() -> None:
    code = """
import io, sys
from flyte_images.progress import Progress
from flyte_images.buildkit.events import Vertex
stream = io.StringIO()
with Progress("tty", stream, env={"NO_COLOR": "1"}) as progress:
    progress.image("app")(Vertex(digest="a", name="step", inputs=("b",), started=1.0, completed=1.5))
print("rich.live" in sys.modules, repr(stream.getvalue()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False '+ step ")
    assert "\\x1b" not in done.stdout


def test_a_build_without_events_loads_no_more_than_it_needs() -> None:
    code = """
import io, sys
from flyte_images.progress import Progress
with Progress("auto", io.StringIO()) as progress:
    progress.summary("app", reference="app:1", seconds=0.1)
print(sorted({"rich", "json", "flyte_images.progress.state", "flyte_images.buildkit.events"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_broken_stream_does_not_fail_the_build() -> None:
    stream = io.StringIO()
    stream.close()
    for mode in ("plain", "json", "tty", "auto"):
        with Progress(mode, stream, env={}) as progress:
            progress.image("app")(Vertex(digest="a", name="step", inputs=("b",), started=1.0, completed=1.5))
            progress.note("a note")


def test_text_that_the_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", newline="") as stream:
        with Progress("plain", stream, env={}) as progress:
            progress.note("größe")
        assert raw.getvalue() == b"gr\\xf6\\xdfe\n"
