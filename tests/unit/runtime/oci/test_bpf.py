"""The seccomp filter as the kernel takes it."""

from __future__ import annotations

import ctypes
import struct

import pytest

from flyte_images_runtime.oci.bpf import Unavailable, compile_profile
from flyte_images_runtime.oci.seccomp import profile


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_ADMIN",), ("CAP_SYS_NICE", "CAP_BPF")])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_a_program_of_whole_instructions_that_ends_in_answers(machine: str, capabilities: tuple[str, ...]) -> None:
    program = compile_profile(profile(capabilities, machine=machine))
    instructions = list(struct.iter_unpack("=HBBI", program))
    assert 100 < len(instructions) < 4096  # the kernel's maximum
    answers = {value for code, _, _, value in instructions if code == 0x06}  # BPF_RET | BPF_K
    assert {0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38} <= answers


def test_a_call_that_is_too_new_for_the_library_is_left_out() -> None:
    rules = profile(machine="x86_64")
    rules["syscalls"].append({"names": ["call_of_the_next_decade"], "action": "SCMP_ACT_ALLOW"})
    assert compile_profile(rules) == compile_profile(profile(machine="x86_64"))


def test_without_the_library_no_program_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(Unavailable, match="cannot open"):
        compile_profile(profile())
