"""Files beside the JSON: arrays and tables are mapped, names are checked, links and pipes are refused."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest
from numpy.typing import NDArray

from flyte_images_runtime.values import Dir, File, Files, Problem, codec


def through(annotation: Any, value: Any, directory: Path) -> Any:
    one = codec(annotation)
    with Files(tempfile.mkdtemp(dir=directory)) as files:
        return one.decode(json.loads(json.dumps(one.encode(value, files))), files)


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(10, dtype="int32").reshape(2, 5),
        numpy.asfortranarray(numpy.ones((3, 4))),
        numpy.array([], dtype="float32"),
        numpy.array(3.5),
        numpy.array([True, False]),
        numpy.array(["a", "bc"]),
        numpy.array([datetime.datetime(2020, 1, 1)], dtype="datetime64[us]"),
        numpy.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
        numpy.arange(20)[::3],
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays(array: Any, tmp_path: Path) -> None:
    result = through(numpy.ndarray, array, tmp_path)
    numpy.testing.assert_array_equal(result, array)
    assert result.dtype == array.dtype
    assert type(result) is numpy.ndarray


def test_an_array_is_mapped_and_private(tmp_path: Path) -> None:
    result = through(numpy.ndarray, numpy.zeros(1000), tmp_path)
    result[0] = 7  # the array has private pages from here on
    [file] = tmp_path.glob("*/*.npy")
    assert numpy.load(file)[0] == 0
    assert isinstance(result.base, numpy.memmap)


def test_the_dtype_in_the_annotation_is_kept(tmp_path: Path) -> None:
    through(NDArray[numpy.float64], numpy.zeros(2), tmp_path)
    with pytest.raises(Problem, match="got an array of int64"):
        through(NDArray[numpy.float64], numpy.zeros(2, dtype="int64"), tmp_path)


def test_objects_in_an_array_would_be_a_pickle(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="Python objects"):
        through(numpy.ndarray, numpy.array([object()]), tmp_path)


def test_a_wrong_array_file_is_refused(tmp_path: Path) -> None:
    numpy.save(tmp_path / "1.npy", numpy.zeros(1000))
    whole = (tmp_path / "1.npy").read_bytes()
    numpy.save(tmp_path / "4.npy", numpy.array([{}]), allow_pickle=True)
    for name, content in (("2.npy", whole[:500]), ("3.npy", b"rubbish"), ("5.npy", b"")):
        (tmp_path / name).write_bytes(content)
    with Files(str(tmp_path)) as files:
        for name in ("2.npy", "3.npy", "4.npy", "5.npy"):
            with pytest.raises(Problem):
                codec(numpy.ndarray).decode({"npy": name}, files)


def test_numpy_numbers_keep_their_class_and_in_any_become_numbers(tmp_path: Path) -> None:
    assert through(numpy.float32, numpy.float32(0.1), tmp_path) == numpy.float32(0.1)
    assert through(dict[str, float], {"a": numpy.float64(0.5)}, tmp_path) == {"a": 0.5}
    result = through(dict, {"a": numpy.int64(3), "b": numpy.float64(0.5), "c": numpy.bool_(True)}, tmp_path)
    assert result == {"a": 3, "b": 0.5, "c": True}
    assert [type(value) for value in result.values()] == [int, float, bool]
    numpy.testing.assert_array_equal(through(Any, [numpy.ones(3)], tmp_path)[0], numpy.ones(3))


def table() -> pandas.DataFrame:
    times = pandas.to_datetime(["2020-01-01", "2021-01-01"])
    return pandas.DataFrame(
        {
            "int": [1, 2],
            "float": [1.5, None],
            "text": ["a", None],
            "time": times,
            "zoned": times.tz_localize("Europe/Berlin"),
            "delta": pandas.to_timedelta(["1s", None]),
            "category": pandas.Categorical(["x", "y"], categories=["y", "x"], ordered=True),
            "Int64": pandas.array([1, None], dtype="Int64"),
            "Float64": pandas.array([1.5, None], dtype="Float64"),
            "bool": [True, False],
            "boolean": pandas.array([True, None], dtype="boolean"),
            "string": pandas.array(["a", None], dtype="string"),
            "objects": [(1, 2), {"a": b"x"}],
            ("a", 1): [0, 0],
        }
    )


@pytest.mark.parametrize(
    "index",
    [
        pandas.RangeIndex(5, 9, 2, name="n"),
        pandas.Index(["b", "a"]),
        pandas.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["n", None]),
        pandas.DatetimeIndex(["2020-01-01", "2020-01-02"], name="day"),
    ],
    ids=lambda index: type(index).__name__,
)
def test_pandas_tables(index: Any, tmp_path: Path) -> None:
    given = table().set_index(index)
    pandas.testing.assert_frame_equal(through(pandas.DataFrame, given, tmp_path), given, check_freq=False)
    pandas.testing.assert_series_equal(through(pandas.Series, given["text"], tmp_path), given["text"], check_freq=False)


def test_a_table_with_two_columns_of_one_name(tmp_path: Path) -> None:
    given = pandas.DataFrame([[1, 2.0], [3, 4.0]], columns=["a", "a"])
    pandas.testing.assert_frame_equal(through(pandas.DataFrame, given, tmp_path), given)


def test_an_empty_table(tmp_path: Path) -> None:
    given = pandas.DataFrame({"a": pandas.Series([], dtype="float64")})
    pandas.testing.assert_frame_equal(through(pandas.DataFrame, given, tmp_path), given)


def test_a_column_that_cannot_cross_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        through(pandas.DataFrame, pandas.DataFrame({"good": [1], "bad": [object()]}), tmp_path)
    assert caught.value.where == "['bad'][0]"


def test_polars_and_arrow_tables(tmp_path: Path) -> None:
    frame = polars.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1.0], []]})
    assert through(polars.DataFrame, frame, tmp_path).equals(frame)
    arrow = pyarrow.table({"a": [1, None], "b": ["x", "y"]})
    assert through(pyarrow.Table, arrow, tmp_path).equals(arrow)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret"
    secret.write_text("sesame")
    (tmp_path / "1.bin").symlink_to(secret)
    os.mkfifo(tmp_path / "2.bin")  # would block a naive reader forever
    (tmp_path / "3.bin").mkdir()
    with Files(str(tmp_path)) as files:
        for name in ("1.bin", "2.bin", "3.bin", "4.bin", "../secret", "x", None, 5):
            with pytest.raises(Problem):
                codec(bytes).decode({"file": name}, files)


def test_files_and_directories_arrive_with_their_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.txt").write_text("a")
    (source / "run.sh").write_text("#!")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("sub/a.txt")
    crossing = tmp_path / "crossing"
    crossing.mkdir()
    arrivals = tmp_path / "arrivals"
    one, many = codec(File), codec(Dir)
    with Files(str(crossing), arrivals=str(arrivals)) as files:
        file = one.decode(one.encode(File(source / "run.sh"), files), files)
        directory = many.decode(many.encode(Dir(source), files), files)
    assert (file.name, file.read_text()) == ("run.sh", "#!")
    assert Path(directory.path, "sub", "a.txt").read_text() == "a"
    assert os.readlink(Path(directory.path, "link")) == "sub/a.txt"  # noqa: PTH115
    assert os.access(Path(directory.path, "run.sh"), os.X_OK)
    assert Path(file.path).is_relative_to(arrivals)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_a_name_that_leads_out_of_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    import io
    import tarfile

    crossing = tmp_path / "crossing"
    crossing.mkdir()
    with tarfile.open(crossing / "1.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with Files(str(crossing), arrivals=str(tmp_path / "in")) as files, pytest.raises(Problem, match="leads out"):
        codec(Dir).decode({"file": "1.tar", "name": "d"}, files)
    assert not (tmp_path / "evil").exists()


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    import io
    import tarfile

    crossing = tmp_path / "crossing"
    crossing.mkdir()
    with tarfile.open(crossing / "1.tar", "w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        archive.addfile(link)
        member = tarfile.TarInfo("out/evil")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with Files(str(crossing), arrivals=str(tmp_path / "in")) as files, pytest.raises(Problem, match="leads out"):
        codec(Dir).decode({"file": "1.tar", "name": "d"}, files)
