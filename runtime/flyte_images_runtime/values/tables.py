"""Codecs of pandas, polars and Arrow tables.

A pandas table crosses column by column: numbers, booleans and times as arrays that are mapped on arrival, the rest as
the values that they are. That needs no pyarrow on either side. polars and Arrow tables are Arrow IPC files.
"""

from __future__ import annotations

import os
from typing import Any

from .arrays import read_array, write_array
from .codec import Codec, codec
from .errors import Problem, expected, name_of, shown
from .files import Files

_ARRAY_KINDS = "biufcmM"  # numpy's letters for the dtypes that are plain memory


class _Index:
    """A pandas index, as JSON."""

    @staticmethod
    def encode(index: Any, files: Files) -> Any:
        import pandas

        any_name = codec(Any)
        if isinstance(index, pandas.RangeIndex):
            return {"range": [index.start, index.stop, index.step], "name": any_name.encode(index.name, files)}
        if isinstance(index, pandas.MultiIndex):
            levels = [_Column.encode(index.get_level_values(at), files) for at in range(index.nlevels)]
            return {"levels": levels, "names": any_name.encode(list(index.names), files)}
        return {"column": _Column.encode(index, files), "name": any_name.encode(index.name, files)}

    @staticmethod
    def decode(data: Any, files: Files) -> Any:
        import pandas

        any_name = codec(Any)
        if not isinstance(data, dict):
            raise expected(pandas.Index, data)
        if "range" in data:
            return pandas.RangeIndex(*map(int, data["range"]), name=any_name.decode(data.get("name"), files))
        if "levels" in data:
            levels = [_Column.decode(level, files) for level in data["levels"]]
            return pandas.MultiIndex.from_arrays(levels, names=any_name.decode(data.get("names"), files))
        return pandas.Index(_Column.decode(data["column"], files), name=any_name.decode(data.get("name"), files))


class _Column:
    """The values of one column or index level, with their pandas dtype."""

    @staticmethod
    def encode(column: Any, files: Files) -> Any:
        import numpy
        import pandas

        dtype = column.dtype
        if isinstance(dtype, numpy.dtype) and dtype.kind in _ARRAY_KINDS:
            return {"array": write_array(numpy.asarray(column), files)}
        if isinstance(dtype, pandas.CategoricalDtype):
            values = column.cat if hasattr(column, "cat") else column
            return {
                "codes": write_array(numpy.asarray(values.codes), files),
                "categories": _Column.encode(dtype.categories, files),
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
            return _Column._objects(column, files)
        raise Problem(f"pandas dtype {dtype} cannot cross", hint="convert the column: `astype(...)`")

    @staticmethod
    def _objects(column: Any, files: Files) -> Any:
        missing = column.isna()
        items = []
        for at, (value, absent) in enumerate(zip(column, missing)):  # noqa: B905 Python 3.8
            try:
                items.append(None if absent and value is None else [] if absent else [codec(Any).encode(value, files)])
            except Problem as problem:
                raise problem.inside(f"[{at}]") from None
        return {"objects": items}

    @staticmethod
    def decode(data: Any, files: Files) -> Any:
        import numpy
        import pandas

        if not isinstance(data, dict):
            raise expected(pandas.Series, data)
        if "codes" in data:
            return pandas.Categorical.from_codes(
                _array(data["codes"], files),
                categories=pandas.Index(_Column.decode(data["categories"], files)),
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
            None if item is None else codec(Any).decode(item[0], files) if item else absent for item in data["objects"]
        ]
        column: Any = numpy.empty(len(items), dtype=object)
        column[:] = items
        return column


def _array(data: Any, files: Files) -> Any:
    """An array for a table, which copies it into its own blocks."""
    array = read_array(data, files)
    files.in_memory(array.nbytes, "a column")
    return array


def _string_dtype(na: Any) -> Any:
    import numpy
    import pandas

    try:
        return pandas.StringDtype(na_value=numpy.nan if na == "nan" else pandas.NA)
    except TypeError:  # before pandas 2.3 there is the one with NA only
        return pandas.StringDtype()


class _Pandas(Codec):
    """pandas.DataFrame, pandas.Series, pandas.Index."""

    def encode(self, value: Any, files: Files) -> Any:
        import pandas

        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        if issubclass(self.kind, pandas.Index):
            return _Index.encode(value, files)
        index = _Index.encode(value.index, files)
        if issubclass(self.kind, pandas.Series):
            return {
                "index": index,
                "column": _Column.encode(value, files),
                "name": codec(Any).encode(value.name, files),
            }
        columns = []
        for at in range(value.shape[1]):  # by place: names may come twice
            try:
                columns.append(_Column.encode(value.iloc[:, at], files))
            except Problem as problem:
                raise problem.inside(f"[{shown(value.columns[at])}]") from None
        return {"index": index, "names": _Index.encode(value.columns, files), "columns": columns}

    def decode(self, data: Any, files: Files) -> Any:
        import pandas

        try:
            if issubclass(self.kind, pandas.Index):
                return _Index.decode(data, files)
            index = _Index.decode(data["index"], files)
            if issubclass(self.kind, pandas.Series):
                return pandas.Series(
                    _Column.decode(data["column"], files), index=index, name=codec(Any).decode(data["name"], files)
                )
            columns = dict(enumerate(_series(_Column.decode(column, files), index) for column in data["columns"]))
            table = pandas.DataFrame(columns, index=index)
            table.columns = _Index.decode(data["names"], files)
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
            except BaseException as error:  # a panic of polars is no Exception
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

        # mapped by number: the name must not be looked up a second time
        table = pyarrow.ipc.open_file(pyarrow.memory_map(f"/proc/self/fd/{file.fileno()}")).read_all()
        table.validate(full=True)  # offsets that lead out of their buffers
        return table


def make(annotation: Any) -> Codec | None:
    """The codec of a table's class, if the annotation is one."""
    if not isinstance(annotation, type):
        return None
    package = annotation.__module__.partition(".")[0]
    if package == "pandas":
        import pandas

        return _Pandas(annotation) if issubclass(annotation, (pandas.DataFrame, pandas.Series, pandas.Index)) else None
    names = {"polars": "DataFrame", "pyarrow": "Table"}
    return _Ipc(annotation) if annotation.__name__ == names.get(package) else None
