"""Laws of local files: the digest covers everything that goes into the image, and equal digests mean equal bytes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flyte_images.context import Packed, Source, digest, pack
from flyte_images.context.ignore import Ignore, _expression
from flyte_images.context.tree import scan

names = (
    st.binary(min_size=1, max_size=6)
    .filter(lambda name: b"/" not in name and b"\0" not in name)
    .filter(lambda name: name not in (b".", b"..", b".dockerignore") and not name.endswith((b".pyc", b".pyo")))
)
files = st.tuples(st.just("f"), st.binary(max_size=20), st.booleans())
links = st.tuples(st.just("l"), names, st.just(False))
Node = tuple[str, bytes, bool] | dict[bytes, "Node"]
trees: st.SearchStrategy[dict[bytes, Node]] = st.recursive(
    st.dictionaries(names, files | links, max_size=4),
    lambda below: st.dictionaries(names, files | links | below, max_size=4),
    max_leaves=12,
)


def write(root: bytes, tree: dict[bytes, Node], *, backwards: bool = False, time: int = 0) -> None:
    os.mkdir(root)  # noqa: PTH102 - bytes
    for name, node in sorted(tree.items(), reverse=backwards):
        path = root + b"/" + name
        if isinstance(node, dict):
            write(path, node, backwards=backwards, time=time)
            continue
        kind, content, is_executable = node
        if kind == "l":
            os.symlink(content, path)  # noqa: PTH211 - bytes
        else:
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, (0o700 if backwards else 0o775) if is_executable else (0o600 if backwards else 0o664))  # noqa: PTH101
            os.utime(path, (time, time))


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def packed(root: Path, name: str) -> tuple[Packed, str]:
    source, cache = Source(root / name, "/app"), root / "cache"
    return pack([source], root / f"layout-{name}", cache=cache), digest(source, cache=cache)


@given(trees)
def test_order_times_and_other_mode_bits_do_not_matter(tree: dict[bytes, Node]) -> None:
    with folder() as root:
        write(os.fsencode(root / "one"), tree)
        write(os.fsencode(root / "two"), tree, backwards=True, time=1_000_000_000)
        (one, said_of_one), (two, said_of_two) = packed(root, "one"), packed(root, "two")
        assert one == two
        assert one.contents == (said_of_one,) == (said_of_two,)


@given(trees, trees)
def test_equal_digests_mean_equal_layers_and_different_trees_differ(
    first: dict[bytes, Node], second: dict[bytes, Node]
) -> None:
    with folder() as root:
        write(os.fsencode(root / "one"), first)
        write(os.fsencode(root / "two"), second)
        (one, _), (two, _) = packed(root, "one"), packed(root, "two")
        assert (one.contents == two.contents) == (one.layer == two.layer) == (first == second)


@given(trees, names, files | links)
def test_any_change_is_another_digest(tree: dict[bytes, Node], name: bytes, node: tuple[str, bytes, bool]) -> None:
    changed = {**tree, name: node}
    if changed == tree:
        del changed[name]
    with folder() as root:
        write(os.fsencode(root / "one"), tree)
        write(os.fsencode(root / "two"), changed)
        assert digest(Source(root / "one", "/"), cache=root) != digest(Source(root / "two", "/"), cache=root)


# --- ignore rules, against a simple implementation: no grouping, no pruning, one pattern after the other

parts = st.sampled_from(["a", "b", "*", "?", "**", "a*", "[ab]", "ab"])
patterns = st.builds(
    lambda sign, parts: sign + "/".join(parts), st.sampled_from(["", "", "!"]), st.lists(parts, min_size=1, max_size=3)
)
paths = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=4).map("/".join)


def plainly_ignored(path: str, rules: list[str]) -> bool:
    import re

    inherited = [False] * len(rules)
    ignored = False
    folders = path.split("/")
    for length in range(1, len(folders) + 1):
        ignored = False
        for number, rule in enumerate(rules):
            includes = rule.startswith("!")
            hit = inherited[number]
            if not hit and includes == ignored:
                hit = re.fullmatch(_expression(rule.removeprefix("!")), "/".join(folders[:length])) is not None
            inherited[number] = hit
            if hit:
                ignored = not includes
    return ignored


@given(st.lists(patterns, max_size=6), paths)
def test_joined_rules_mean_the_same(rules: list[str], path: str) -> None:
    joined = Ignore(rules)
    ignored = False
    matched: tuple[bool, ...] = ()
    folders = path.split("/")
    for length in range(1, len(folders) + 1):
        ignored, matched = joined.match("/".join(folders[:length]), matched)
    assert ignored == plainly_ignored(path, rules)


@given(st.lists(patterns, max_size=4), st.sets(paths, max_size=8))
def test_a_scan_finds_exactly_the_paths_that_are_not_ignored(rules: list[str], wanted: set[str]) -> None:
    with folder() as root:
        for path in wanted:  # files are called x, so that every path may be a folder
            (root / path).mkdir(parents=True, exist_ok=True)
            (root / path / "x").touch()
        everything = {str(path.relative_to(root)) for path in root.rglob("*")}
        kept = {path for path in everything if not plainly_ignored(path, rules)}
        with_parents = kept | {str(above) for path in kept for above in Path(path).parents if str(above) != "."}
        found = [os.fsdecode(entry.path) for entry in scan(root, rules).entries]
        assert len(found) == len(set(found))
        assert set(found) == with_parents
