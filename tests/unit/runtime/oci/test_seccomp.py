"""The filter's laws: each call has one answer, and a refused call stays refused without its capability."""

from __future__ import annotations

from typing import Any

import pytest

from flyte_images_runtime.oci.seccomp import profile

ESCAPES = (
    "mount umount2 pivot_root setns unshare bpf init_module kexec_load keyctl open_by_handle_at io_uring_setup "
    "userfaultfd perf_event_open reboot swapon iopl clock_settime"
)


def _answers(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [rule for rule in found["syscalls"] if name in rule["names"]]


def _allowed(found: dict[str, Any]) -> set[str]:
    return {name for rule in found["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x", "ppc64le", "riscv64", "loongarch64"])
@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_ADMIN", "CAP_SYS_NICE", "CAP_SYSLOG", "CAP_BPF")])
def test_a_call_without_conditions_has_one_answer(machine: str, capabilities: tuple[str, ...]) -> None:
    seen: dict[str, str] = {}
    for rule in profile(capabilities, machine=machine)["syscalls"]:
        for name in rule["names"]:
            if "args" not in rule:
                assert seen.setdefault(name, rule["action"]) == rule["action"], name
                assert not [
                    other for other in _answers(profile(capabilities, machine=machine), name) if "args" in other
                ], name


@pytest.mark.parametrize("name", ESCAPES.split())
def test_calls_that_reach_the_host_are_refused(name: str) -> None:
    assert name not in _allowed(profile())


def test_calls_that_programs_need_are_allowed() -> None:
    needed = {
        "read",
        "mmap",
        "futex",
        "execve",
        "openat",
        "socketpair",
        "epoll_pwait2",
        "memfd_create",
        "pidfd_open",
        "statx",
    }
    assert needed <= _allowed(profile())


def test_a_capability_brings_the_calls_that_it_is_for_and_no_others() -> None:
    plain, nice = _allowed(profile()), _allowed(profile(["CAP_SYS_NICE"]))
    assert nice - plain == {"get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"}
    assert {"clone3", "unshare", "mount"} <= _allowed(profile(["CAP_SYS_ADMIN"])) - plain


def test_a_call_newer_than_the_list_is_not_implemented() -> None:
    assert profile()["defaultErrnoRet"] == 38
    assert {rule["errnoRet"] for rule in _answers(profile(), "mount")} == {1}


def test_the_flags_of_clone_are_where_the_machine_has_them() -> None:
    for machine, index in (("x86_64", 0), ("s390x", 1)):
        assert {rule["args"][0]["index"] for rule in _answers(profile(machine=machine), "clone")} == {index}
