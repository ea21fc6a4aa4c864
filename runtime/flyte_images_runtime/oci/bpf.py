"""A seccomp profile -> the program that the kernel runs for each system call, compiled by libseccomp.

A runtime compiles the profile for each container, which takes longer than the rest of its work. It is compiled once
here, as a tree instead of a list, so that the calls themselves are faster too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

_ERRNO, _ALLOW = 0x0005_0000, 0x7FFF_0000
_OPTIMIZE, _AS_A_TREE = 8, 2  # SCMP_FLTATR_CTL_OPTIMIZE
_EXISTS = 17
_UNKNOWN = -1  # __NR_SCMP_ERROR
_OPERATORS = {"SCMP_CMP_NE": 1, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class _Argument(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("index", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Unavailable(Exception):
    """This machine has no libseccomp, or the library does not know a part of the profile."""


def compile_profile(profile: Mapping[str, Any]) -> bytes:
    """Return the program of a `linux.seccomp` document, without the calls that the library is too old to know."""
    library = _library()
    context = library.seccomp_init(ctypes.c_uint32(_ERRNO | profile["defaultErrnoRet"]))
    if not context:
        raise Unavailable("seccomp_init")
    try:
        for name in profile["architectures"]:
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            _expect(library.seccomp_arch_add(ctypes.c_void_p(context), ctypes.c_uint32(token)), name, but=_EXISTS)
        library.seccomp_attr_set(ctypes.c_void_p(context), _OPTIMIZE, _AS_A_TREE)  # an old library makes a list
        for rule in profile["syscalls"]:
            if rule.get("errnoRet") != profile["defaultErrnoRet"]:  # a rule may not repeat the default answer
                _add(library, context, rule)
        return _exported(library, context)
    finally:
        library.seccomp_release(ctypes.c_void_p(context))


def _add(library: Any, context: int, rule: Mapping[str, Any]) -> None:
    action = _ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else _ERRNO | rule["errnoRet"]
    arguments = [
        _Argument(one["index"], _OPERATORS[one["op"]], one["value"], one["valueTwo"]) for one in rule.get("args", ())
    ]
    array = (_Argument * len(arguments))(*arguments)
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != _UNKNOWN:
            done = library.seccomp_rule_add_array(
                ctypes.c_void_p(context), ctypes.c_uint32(action), number, len(arguments), array
            )
            _expect(done, name)


def _exported(library: Any, context: int) -> bytes:
    file = os.memfd_create("flyte-images-filter", os.MFD_CLOEXEC)
    try:
        _expect(library.seccomp_export_bpf(ctypes.c_void_p(context), file), "the filter")
        return os.pread(file, 1 << 20, 0)
    finally:
        os.close(file)


def _library() -> Any:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise Unavailable(str(error)) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    return library


def _expect(status: int, what: str, *, but: int = 0) -> None:
    if status not in (0, -but):
        raise Unavailable(f"{what}: {os.strerror(-status)}")
