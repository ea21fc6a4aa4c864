"""Laws of the progress display: no events in any order make it raise or send controls to a terminal."""

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from flyte_images.buildkit.events import Event, Vertex, VertexLog, VertexStatus
from flyte_images.progress import Progress
from flyte_images.progress.terminal_text import Lines, clean

digests = st.sampled_from(["a", "b", "c", "d"])
times = st.none() | st.floats(min_value=-10, max_value=1e6, allow_nan=False)
names = st.text(max_size=20) | st.sampled_from(["exporting to image", "sha256:00", "\x1b[2J", ""])
events = st.one_of(
    st.builds(
        Vertex,
        digest=digests,
        name=names,
        inputs=st.lists(digests, max_size=3).map(tuple),
        started=times,
        completed=times,
        cached=st.booleans(),
        error=st.sampled_from(["", "exit code: 1", "context canceled"]),
        group_id=st.sampled_from(["", "g", "h"]),
        group_name=names,
    ),
    st.builds(
        VertexStatus,
        vertex=digests,
        id=st.sampled_from(["s", "t"]),
        name=names,
        current=st.integers(-5, 100),
        total=st.integers(-5, 100),
        started=times,
        completed=times,
    ),
    st.builds(VertexLog, vertex=digests, stream=st.integers(0, 3), data=st.binary(max_size=60)),
)
builds = st.lists(events, max_size=25)


def played(mode: str, one: list[Event], two: list[Event]) -> str:
    stream = io.StringIO()
    with Progress(mode, stream, env={"NO_COLOR": "1"}) as progress:
        for name, some in (("one", one), ("two\n", two)):
            for event in some:
                progress.image(name)(event)
            progress.summary(name, reference=name, seconds=1.0)
    return stream.getvalue()


@given(builds, builds)
def test_any_events_in_any_order_are_shown(one: list[Event], two: list[Event]) -> None:
    text = played("plain", one, two)
    assert all(character.isprintable() or character in "\n\xa0\u3000" or ord(character) > 127 for character in text)
    assert "\x1b" not in text


@given(builds, builds)
def test_json_lines_are_json_and_every_step_that_starts_ends(one: list[Event], two: list[Event]) -> None:
    objects = [json.loads(line) for line in played("json", one, two).splitlines()]
    steps = [(o["image"], o["step"], o["state"]) for o in objects if o["event"] == "step"]
    for image, step, state in steps:
        if state == "started":
            assert [s for i, k, s in steps if (i, k) == (image, step)][-1] != "started"


@given(builds)
def test_bars_accept_any_events(one: list[Event]) -> None:
    assert "\x1b" not in played("tty", one, [])


@given(st.lists(st.binary(max_size=30)))
def test_lines_do_not_depend_on_the_chunks(pieces: list[bytes]) -> None:
    cut, whole = Lines(), Lines()
    fed = [line for piece in pieces for line in cut.feed(piece)] + cut.rest()
    assert fed == whole.feed(b"".join(pieces)) + whole.rest()


@given(st.text())
def test_clean_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert len(once.splitlines()) <= 1
    assert clean(once) == once
