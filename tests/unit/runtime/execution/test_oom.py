"""The kernel's report of a kill is found by the task's cgroup, in the formats of version 1 and version 2."""

from __future__ import annotations

from flyte_images_runtime.errors import Process
from flyte_images_runtime.execution.oom import find, kill_in

HEAD = "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name"
OLDER = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"


def report(group: str, rows: list[str], *account: str, head: str = HEAD) -> list[str]:
    return [
        "python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=500",
        f"Memory cgroup stats for {group}:",
        *account,
        "Tasks state (memory values in pages):",
        head,
        *rows,
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={group},task_memcg={group}/x,task=python3,pid=1",
        "Memory cgroup out of memory: Killed process 1 (python3) total-vm:281044kB, UID:1000 oom_score_adj:500",
    ]


BIG = "[  20749]  1000 20749    70261    65000     1962     1458         0    77824        0           500 python3"
SMALL = (
    "[  20750]  1000 20750     4978     3075     2159      916         0    77824        0           500 my (odd) name"
)
OLD = "[  20751]  1000 20751     4978     3000    77824        0           500 python3"


def test_the_largest_processes_and_the_files_in_memory_of_the_group() -> None:
    log = [
        *report("/flyte-images/other", [BIG]),
        *report("/flyte-images/one", [SMALL, BIG], "total_cache 9000", "shmem 0", "total_shmem 8000", "docker0: noise"),
    ]
    found = find(log, "/flyte-images/one")
    assert found is not None
    assert found.files == 8000
    assert found.processes == (
        Process(pid=20749, memory=65000 * 4096, command="python3"),
        Process(pid=20750, memory=3075 * 4096, command="my (odd) name"),
    )


def test_version_2_and_older_kernels_and_a_group_below_another_one() -> None:
    log = report("/machine/flyte-images/one", [OLD], "anon 100", "shmem 5000", head=OLDER)
    found = find(log, "/flyte-images/one")
    assert found is not None
    assert (found.files, found.processes[0].memory) == (5000, 3000 * 4096)


def test_the_report_with_most_memory_wins() -> None:
    log = [*report("/flyte-images/one", [BIG]), *report("/flyte-images/one", [SMALL])]
    found = find(log, "/flyte-images/one")
    assert found is not None
    assert found.processes[0].pid == 20749


def test_the_report_of_another_group_does_not_count() -> None:
    assert find(report("/flyte-images/one-2", [BIG]), "/flyte-images/one") is None
    assert find([], "/flyte-images/one") is None
    assert kill_in("/flyte-images/there-was-never-one") is None
