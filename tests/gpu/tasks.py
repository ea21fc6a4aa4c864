"""Tasks on a card: a matrix product through the driver's own library, so that any image with Python works."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Any

# C = A x B for square matrices, one thread for each element. The driver compiles it for the card.
PRODUCT = b"""
.version 6.0
.target sm_70
.address_size 64
.visible .entry product(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
    .reg .pred %p<3>;
    .reg .f32 %f<4>;
    .reg .b32 %r<12>;
    .reg .b64 %rd<12>;
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u64 %rd3, [c];
    ld.param.u32 %r1, [n];
    cvta.to.global.u64 %rd4, %rd1;
    cvta.to.global.u64 %rd5, %rd2;
    cvta.to.global.u64 %rd6, %rd3;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.u32 %r5, %r2, %r3, %r4;
    mul.lo.u32 %r6, %r1, %r1;
    setp.ge.u32 %p1, %r5, %r6;
    @%p1 bra DONE;
    div.u32 %r7, %r5, %r1;
    rem.u32 %r8, %r5, %r1;
    mov.f32 %f1, 0f00000000;
    mov.u32 %r9, 0;
LOOP:
    mad.lo.u32 %r10, %r7, %r1, %r9;
    mul.wide.u32 %rd7, %r10, 4;
    add.u64 %rd8, %rd4, %rd7;
    ld.global.f32 %f2, [%rd8];
    mad.lo.u32 %r11, %r9, %r1, %r8;
    mul.wide.u32 %rd9, %r11, 4;
    add.u64 %rd10, %rd5, %rd9;
    ld.global.f32 %f3, [%rd10];
    fma.rn.f32 %f1, %f2, %f3, %f1;
    add.u32 %r9, %r9, 1;
    setp.lt.u32 %p2, %r9, %r1;
    @%p2 bra LOOP;
    mul.wide.u32 %rd7, %r5, 4;
    add.u64 %rd8, %rd6, %rd7;
    st.global.f32 [%rd8], %f1;
DONE:
    ret;
}
"""


class Driver:
    """libcuda.so.1, with every call checked."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def __call__(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            told = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(told))
            raise RuntimeError(f"{name}: {(told.value or b'').decode() or status}")


def product(size: int) -> dict[str, Any]:
    """Multiply two matrices of small whole numbers on the card. The result is exact."""
    driver = Driver()
    driver("cuInit", 0)
    device, count = ctypes.c_int(), ctypes.c_int()
    driver("cuDeviceGetCount", ctypes.byref(count))
    driver("cuDeviceGet", ctypes.byref(device), 0)
    name, uuid = ctypes.create_string_buffer(100), (ctypes.c_ubyte * 16)()
    driver("cuDeviceGetName", name, 100, device)
    driver("cuDeviceGetUuid_v2", uuid, device)
    context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    driver("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    driver("cuModuleLoadData", ctypes.byref(module), PRODUCT)
    driver("cuModuleGetFunction", ctypes.byref(function), module, b"product")
    total = size * size
    first = [float((at * 7) % 5) for at in range(total)]
    second = [float((at * 3) % 4) for at in range(total)]
    memory = [ctypes.c_uint64() for _ in range(3)]
    for one in memory:
        driver("cuMemAlloc_v2", ctypes.byref(one), ctypes.c_size_t(4 * total))
    for one, values in zip(memory, (first, second), strict=False):
        driver("cuMemcpyHtoD_v2", one, struct.pack(f"{total}f", *values), ctypes.c_size_t(4 * total))
    arguments = [*memory, ctypes.c_uint(size)]
    pointers = (ctypes.c_void_p * 4)(*(ctypes.addressof(one) for one in arguments))
    driver("cuLaunchKernel", function, (total + 255) // 256, 1, 1, 256, 1, 1, 0, None, pointers, None)
    driver("cuCtxSynchronize")
    answer = ctypes.create_string_buffer(4 * total)
    driver("cuMemcpyDtoH_v2", answer, memory[2], ctypes.c_size_t(4 * total))
    driver("cuCtxDestroy_v2", context)
    expected = [
        sum(first[row * size + at] * second[at * size + column] for at in range(size))
        for row in range(size)
        for column in range(size)
    ]
    return {
        "right": list(struct.unpack(f"{total}f", answer.raw)) == expected,
        "name": name.value.decode(),
        "cards": count.value,
        "uuid": bytes(uuid).hex(),
    }


def nodes() -> dict[str, str]:
    """Return the device nodes of NVIDIA here, and the result of opening each."""
    found = {}
    for path in sorted(Path("/dev").glob("nvidia*")):
        if path.is_dir():
            continue
        try:
            os.close(os.open(path, os.O_RDWR))
            found[path.name] = "ok"
        except OSError as error:
            found[path.name] = errno.errorcode[error.errno or 0]
    return found


def has_driver() -> str:
    """Return the answer of the driver's library in a task without a card."""
    try:
        Driver()("cuInit", 0)
    except (OSError, RuntimeError) as error:
        return type(error).__name__
    return "ok"
