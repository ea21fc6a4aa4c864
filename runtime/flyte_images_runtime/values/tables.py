"""Codecs of pandas, polars and Arrow tables.

A pandas table crosses column by column: numbers, booleans and times as arrays that the reader maps, other columns as
lists of values. Neither side needs pyarrow. polars and Arrow tables are Arrow IPC files.
"""

from __future__ import annotations

import os
from typing import Any

from .arrays import read_array, write_array
from .base import Codec
from .errors import Problem, expected, name_of, shown
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import CodecOf

_ARRAY_KINDS = "biufcmM"  # numpy's letters for the dtypes that are plain memory


class _Indexes:
    """Encodes pandas indexes as JSON."""

    def __init__(self, columns: _Columns, any_codec: Codec) -> None:
        self._columns = columns
        self._any = any_codec

    def encode(self, index: Any, files: Files) -> Any:
        import pandas

        if isinstance(index, pandas.RangeIndex):
            return {"range": [index.start, index.stop, index.step], "name": self._any.encode(index.name, files)}
        if isinstance(index, pandas.MultiIndex):
            levels = [self._columns.encode(index.get_level_values(at), files) for at in range(index.nlevels)]
            return {"levels": levels, "names": self._any.encode(list(index.names), files)}
        return {"column": self._columns.encode(index, files), "name": self._any.encode(index.name, files)}

    def decode(self, data: Any, files: Files) -> Any:
        import pandas

        if not isinstance(data, dict):
            raise expected(pandas.Index, data)
        if "range" in data:
            return pandas.RangeIndex(*map(int, data["range"]), name=self._any.decode(data.get("name"), files))
        if "levels" in data:
            levels = [self._columns.decode(level, files) for level in data["levels"]]
            return pandas.MultiIndex.from_arrays(levels, names=self._any.decode(data.get("names"), files))
        return pandas.Index(self._columns.decode(data["column"], files), name=self._any.decode(data.get("name"), files))


class _Columns:
    """Encodes the values of a column or of an index level, with their pandas dtype."""

    def __init__(self, any_codec: Codec) -> None:
        self._any = any_codec

    def encode(self, column: Any, files: Files) -> Any:
        import numpy
        import pandas

        dtype = column.dtype
        if isinstance(dtype, numpy.dtype) and dtype.kind in _ARRAY_KINDS:
            return {"array": write_array(numpy.asarray(column), files)}
        if isinstance(dtype, pandas.CategoricalDtype):
            values = column.cat if hasattr(column, "cat") else column
            return {
                "codes": write_array(numpy.asarray(values.codes), files),
                "categories": self.encode(dtype.categories, files),
                "ordered": bool(dtype.ordered),
            }
        if isinstance(dtype, pandas.DatetimeTZDtype):
            zoned = pandas.Index(column).tz_convert("UTC").tz_localize(None)
            return {"array": write_array(numpy.asarray(zoned), files), "zone": str(dtype.tz)}
        values = column.array
        if hasattr(values, "_mask") and hasattr(values, "_data"):  # Int64, Float64, boolean
            mask = numpy.asarray(column.isna())
            fill: Any = False if dtype.name == "boolean" else 0
            plain = values.to_numpy(dtype=dtype.numpy_dtype, na_value=fill)
            return {"array": write_array(plain, files), "mask": write_array(mask, files), "dtype": dtype.name}
        if isinstance(dtype, pandas.StringDtype):
            na = getattr(dtype, "na_value", pandas.NA)
            texts = [None if absent else str(value) for value, absent in zip(column, column.isna())]  # noqa: B905
            return {"texts": texts, "na": "NA" if na is pandas.NA else "nan"}
        if isinstance(dtype, numpy.dtype):
            return self._objects(column, files)
        raise Problem(f"pandas dtype {dtype} cannot cross", hint="convert the column: `astype(...)`")

    def _objects(self, column: Any, files: Files) -> Any:
        missing = column.isna()
        items = []
        for at, (value, absent) in enumerate(zip(column, missing)):  # noqa: B905 Python 3.8
            try:
                items.append(None if absent and value is None else [] if absent else [self._any.encode(value, files)])
            except Problem as problem:
                raise problem.inside(f"[{at}]") from None
        return {"objects": items}

    def decode(self, data: Any, files: Files) -> Any:
        import numpy
        import pandas

        if not isinstance(data, dict):
            raise expected(pandas.Series, data)
        if "codes" in data:
            return pandas.Categorical.from_codes(
                _array(data["codes"], files),
                categories=pandas.Index(self.decode(data["categories"], files)),
                ordered=data.get("ordered") is True,
            )
        if "mask" in data:
            dtype = pandas.api.types.pandas_dtype(data["dtype"])
            values = pandas.array(_array(data["array"], files), dtype=dtype)
            values[_array(data["mask"], files).astype(bool)] = pandas.NA
            return values
        if "zone" in data:
            return pandas.DatetimeIndex(_array(data["array"], files), tz="UTC").tz_convert(data["zone"])
        if "array" in data:
            return _array(data["array"], files)
        if "texts" in data:
            return pandas.array(data["texts"], dtype=_string_dtype(data.get("na")))
        absent = numpy.nan
        items = [
            None if item is None else self._any.decode(item[0], files) if item else absent for item in data["objects"]
        ]
        column: Any = numpy.empty(len(items), dtype=object)
        column[:] = items
        return column


def _array(data: Any, files: Files) -> Any:
    """Return an array for a table. The table copies it, which takes memory."""
    array = read_array(data, files)
    files.in_memory(array.nbytes, "a column")
    return array


def _string_dtype(na: Any) -> Any:
    import numpy
    import pandas

    try:
        return pandas.StringDtype(na_value=numpy.nan if na == "nan" else pandas.NA)
    except TypeError:  # before pandas 2.3 the dtype has no `na_value`
        return pandas.StringDtype()


class _Pandas(Codec):
    """pandas.DataFrame, pandas.Series, pandas.Index."""

    def __init__(self, kind: Any, any_codec: Codec) -> None:
        super().__init__(kind)
        self._any = any_codec
        self._columns = _Columns(any_codec)
        self._indexes = _Indexes(self._columns, any_codec)

    def encode(self, value: Any, files: Files) -> Any:
        import pandas

        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        if issubclass(self.kind, pandas.Index):
            return self._indexes.encode(value, files)
        index = self._indexes.encode(value.index, files)
        if issubclass(self.kind, pandas.Series):
            return {
                "index": index,
                "column": self._columns.encode(value, files),
                "name": self._any.encode(value.name, files),
            }
        columns = []
        for at in range(value.shape[1]):  # by position, since two columns may have one name
            try:
                columns.append(self._columns.encode(value.iloc[:, at], files))
            except Problem as problem:
                raise problem.inside(f"[{shown(value.columns[at])}]") from None
        return {"index": index, "names": self._indexes.encode(value.columns, files), "columns": columns}

    def decode(self, data: Any, files: Files) -> Any:
        import pandas

        try:
            if issubclass(self.kind, pandas.Index):
                return self._indexes.decode(data, files)
            index = self._indexes.decode(data["index"], files)
            if issubclass(self.kind, pandas.Series):
                return pandas.Series(
                    self._columns.decode(data["column"], files),
                    index=index,
                    name=self._any.decode(data["name"], files),
                )
            columns = dict(enumerate(_series(self._columns.decode(column, files), index) for column in data["columns"]))
            table = pandas.DataFrame(columns, index=index)
            table.columns = self._indexes.decode(data["names"], files)
            return table
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Problem(f"this is not a {name_of(self.kind)}: {error}") from None


def _series(values: Any, index: Any) -> Any:
    import pandas

    return pandas.Series(values, index=index, copy=False)


class _Ipc(Codec):
    """polars.DataFrame and pyarrow.Table: an Arrow IPC file."""

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        name, file = files.new("arrow")
        with file:
            if self._is_polars():
                value.write_ipc(file, compression="uncompressed")
            else:
                import pyarrow

                with pyarrow.ipc.new_file(file, value.schema) as writer:
                    writer.write_table(value)
        return {"arrow": name}

    def decode(self, data: Any, files: Files) -> Any:
        if not isinstance(data, dict):
            raise expected(self.kind, data)
        from .arrow import check_uncompressed

        with files.open(data.get("arrow")) as file:
            size = os.fstat(file.fileno()).st_size
            files.on_disk(size, "a table")
            try:
                check_uncompressed(file)
                return self._polars(file, files, size) if self._is_polars() else self._arrow(file)
            except (Problem, MemoryError, KeyboardInterrupt):
                raise
            except BaseException as error:  # polars' PanicException is not an Exception
                if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                    raise
                raise Problem(f"this is not a {name_of(self.kind)}: {error}") from None

    def _is_polars(self) -> bool:
        return bool(self.kind.__module__.partition(".")[0] == "polars")

    @staticmethod
    def _polars(file: Any, files: Files, size: int) -> Any:
        import polars

        files.in_memory(size, "a table")
        file.seek(0)
        return polars.read_ipc(file)

    @staticmethod
    def _arrow(file: Any) -> Any:
        import pyarrow

        # mapped through the descriptor, since the name could lead to another file by now
        table = pyarrow.ipc.open_file(pyarrow.memory_map(f"/proc/self/fd/{file.fileno()}")).read_all()
        table.validate(full=True)  # finds offsets that lead out of their buffers
        return table


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of a table's class; None for any other annotation."""
    if not isinstance(annotation, type):
        return None
    package = annotation.__module__.partition(".")[0]
    if package == "pandas":
        import pandas

        tables = (pandas.DataFrame, pandas.Series, pandas.Index)
        return _Pandas(annotation, codec_of(Any)) if issubclass(annotation, tables) else None
    names = {"polars": "DataFrame", "pyarrow": "Table"}
    return _Ipc(annotation) if annotation.__name__ == names.get(package) else None
