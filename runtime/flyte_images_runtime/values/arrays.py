"""Codecs of numpy arrays and numbers, and of torch tensors: the bytes are a file that the reader maps, without a copy.

A mapped array is private: writes to it are not seen elsewhere. An array with Python objects cannot cross, since that
would take a pickle.
"""

from __future__ import annotations

import os
import typing
from typing import Any, BinaryIO

from .base import Codec
from .errors import Problem, expected, name_of, shown
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import CodecOf


def write_array(value: Any, files: Files) -> Any:
    """Write an array to a `.npy` file; return its JSON form, which has the file's name."""
    import numpy

    if value.dtype.hasobject:
        raise Problem(
            f"an array of dtype {value.dtype} holds Python objects",
            hint="give the array another dtype (`astype`), or return a list",
        )

    def write(file: BinaryIO) -> None:
        file.truncate(value.nbytes)  # a file system with huge pages uses them where the file's size fills them
        numpy.lib.format.write_array(file, value, allow_pickle=False)

    return {"npy": files.put("npy", value.nbytes, write)}


def read_array(data: Any, files: Files) -> Any:
    """Return the array in the file that `data` names, mapped copy-on-write."""
    import numpy

    if not isinstance(data, dict):
        raise expected(numpy.ndarray, data)
    form = numpy.lib.format
    with files.open(data.get("npy")) as file:
        files.on_disk(os.fstat(file.fileno()).st_size, "an array")
        try:
            version = form.read_magic(file)
            read_header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
            shape, fortran, dtype = read_header(file)
        except ValueError as error:
            raise Problem(f"attachment {data.get('npy')} is not a .npy file: {error}") from None
        if dtype.hasobject:
            raise Problem(f"attachment {data.get('npy')} holds Python objects")
        order: Any = "F" if fortran else "C"
        try:
            if 0 in shape or dtype.itemsize == 0:
                return numpy.empty(shape, dtype=dtype, order=order)
            mapped: Any = numpy.memmap(file, dtype=dtype, mode="c", offset=file.tell(), shape=shape, order=order)
        except (ValueError, OSError, OverflowError) as error:
            raise Problem(f"attachment {data.get('npy')} is shorter than the array in its header: {error}") from None
        return numpy.asarray(mapped)


class _Array(Codec):
    """numpy.ndarray, NDArray[float64]."""

    def __init__(self, kind: Any, scalar: Any) -> None:
        super().__init__(kind)
        self._scalar = scalar

    def accepts(self, value: Any) -> bool:
        import numpy

        return isinstance(value, numpy.ndarray)

    def encode(self, value: Any, files: Files) -> Any:
        import numpy

        if not isinstance(value, numpy.ndarray) or isinstance(value, (numpy.matrix, numpy.ma.MaskedArray)):
            raise expected(self.kind, value)
        self._check(value)
        return write_array(value, files)

    def decode(self, data: Any, files: Files) -> Any:
        array = read_array(data, files)
        self._check(array)
        return array

    def _check(self, array: Any) -> None:
        import numpy

        if self._scalar is not None and not numpy.issubdtype(array.dtype, self._scalar):
            raise Problem(f"expected {name_of(self.kind)}, got an array of {array.dtype}")

    def parse(self, text: str) -> Any:
        import numpy

        from .containers import load_json

        try:
            return numpy.array(load_json(text, "[", self.kind), dtype=self._scalar)
        except (TypeError, ValueError) as error:
            raise Problem(f"{shown(text)} is not a {name_of(self.kind)}: {error}") from None


class _Number(Codec):
    """numpy.float32, numpy.int64, ...: the bytes in hexadecimal, so that no value is rounded."""

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        return [value.dtype.str, value.tobytes().hex()]

    def decode(self, data: Any, files: Files) -> Any:
        import numpy

        if not isinstance(data, list) or len(data) != 2:
            raise expected(self.kind, data)
        try:
            value = numpy.frombuffer(bytes.fromhex(data[1]), dtype=numpy.dtype(data[0]))[0]
        except (TypeError, ValueError, IndexError):
            raise expected(self.kind, data) from None
        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        return value

    def parse(self, text: str) -> Any:
        try:
            return self.kind(text)
        except ValueError:
            raise Problem(f"{shown(text)} is not a {name_of(self.kind)}") from None


class _Tensor(Codec):
    """torch.Tensor: bytes, dtype and shape. The reader's tensor is on the CPU. numpy is not needed."""

    def encode(self, value: Any, files: Files) -> Any:
        import ctypes

        import torch

        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        if value.is_meta:
            raise Problem("a tensor on the device `meta` has no bytes")
        if value.is_quantized:
            raise Problem("a quantized tensor has no plain bytes", hint="make it plain: `.dequantize()`")
        if value.layout is not torch.strided:
            raise Problem(f"a {value.layout} tensor has no plain bytes", hint="make it dense: `.to_dense()`")
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        size = flat.numel() * flat.element_size()

        def write(file: BinaryIO) -> None:
            file.truncate(size)
            if size:
                file.write(memoryview((ctypes.c_ubyte * size).from_address(flat.data_ptr())))

        return {
            "bin": files.put("bin", size, write),
            "dtype": str(value.dtype).partition(".")[2],
            "shape": list(value.shape),
            "grad": bool(value.requires_grad),
        }

    def decode(self, data: Any, files: Files) -> Any:
        import torch

        dtype = getattr(torch, str(data.get("dtype")), None) if isinstance(data, dict) else None
        shape = data.get("shape") if isinstance(data, dict) else None
        if not isinstance(dtype, torch.dtype) or not isinstance(shape, list) or any(type(n) is not int for n in shape):
            raise expected(self.kind, data)
        if 0 in shape:
            tensor = torch.empty(shape, dtype=dtype)
        else:
            with files.open(data.get("bin")) as file:
                size = os.fstat(file.fileno()).st_size
                files.on_disk(size, "a tensor")
                path = f"/proc/self/fd/{file.fileno()}"
                try:  # a private mapping
                    raw = torch.from_file(path, shared=False, size=size, dtype=torch.uint8)
                    tensor = raw.view(dtype).reshape(shape)
                except RuntimeError as error:
                    raise Problem(f"the tensor's bytes do not fit its shape: {error}") from None
        grad = data.get("grad") is True
        if issubclass(self.kind, torch.nn.Parameter):
            return torch.nn.Parameter(tensor, requires_grad=grad)
        return tensor.requires_grad_(grad) if self.kind is torch.Tensor else tensor.as_subclass(self.kind)


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of an array's or tensor's type; None for any other annotation."""
    origin = typing.get_origin(annotation) or annotation
    if not isinstance(origin, type):
        return None
    package = origin.__module__.partition(".")[0]
    if package == "torch":
        if any(base.__name__ == "Module" for base in origin.__mro__):
            raise Problem(f"{name_of(origin)} cannot cross into a container and back", hint="return its state_dict()")
        return _Tensor(annotation) if any(base.__name__ == "Tensor" for base in origin.__mro__) else None
    import numpy

    if issubclass(origin, numpy.ndarray):
        parts = typing.get_args(annotation)
        dtype = typing.get_args(parts[1]) if len(parts) == 2 else ()
        scalar = dtype[0] if dtype and isinstance(dtype[0], type) and issubclass(dtype[0], numpy.generic) else None
        return _Array(annotation, scalar)
    if issubclass(origin, numpy.generic):
        return _Number(annotation)
    return None
