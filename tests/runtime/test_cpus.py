"""Threads are for the CPUs that this process may use, not for those that the machine has."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedge.engine.cpus import CpuBudget, cpu_budget

BUDGET = "from embedge.engine.cpus import cpu_budget; budget = cpu_budget(); print(budget.threads, budget.reason)"
V1 = Path("/sys/fs/cgroup/cpu")

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
CPU = "33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
CPUSET = "34 30 0:30 / /sys/fs/cgroup/cpuset rw,nosuid - cgroup cgroup rw,cpuset"
OTHERS = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n23 22 0:21 / /proc rw shared:5 master:1 - proc proc rw\n"


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine the test runs on: a process that may use eight CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def budget_of(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> CpuBudget:
    """What a process is given whose ``/proc`` and control groups are these files."""
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": OTHERS + mountinfo, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return cpu_budget(root)


NO_QUOTA = CpuBudget(8, "CPU affinity")


# The real machine


def budget_in(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    threads, reason = done.stdout.strip().split(" ", 1)
    return int(threads), reason


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_limits_the_threads() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    for count in {1, len(cpus)}:
        code = f"import os; os.sched_setaffinity(0, {cpus[:count]}); {BUDGET}"
        threads, reason = budget_in([sys.executable, "-c", code])
        assert 1 <= threads <= count
        assert count > 1 or (threads == 1 and reason == "CPU affinity")


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 1 of our own."""
    made = V1 / f"embedge-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as exc:
        pytest.skip(f"no control group can be made in {V1}: {exc.strerror}")
    yield made
    for child in made.iterdir():
        if child.is_dir():
            child.rmdir()
    made.rmdir()


def set_quota(group: Path, quota: int, period: int = 100_000) -> None:
    try:
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as exc:
        pytest.skip(f"no quota can be set in {group}: {exc.strerror}")


def budget_inside(group: Path) -> tuple[int, str]:
    return budget_in(["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$0" -c "$1"', sys.executable, BUDGET])


needs_two_cpus = pytest.mark.skipif(cpu_budget().threads < 2, reason="needs two CPUs")


@needs_two_cpus
def test_the_quota_of_a_real_control_group_limits_the_threads(group: Path) -> None:
    unlimited = budget_inside(group)
    set_quota(group, 100_000)
    assert budget_inside(group) == (1, f"a quota of 1 CPUs from control group {group}")
    set_quota(group, -1)
    assert budget_inside(group) == unlimited
    assert str(group) not in unlimited[1]


@needs_two_cpus
def test_one_and_a_half_cpus_are_two_threads(group: Path) -> None:
    set_quota(group, 75_000, period=50_000)
    assert budget_inside(group) == (2, f"a quota of 1.5 CPUs from control group {group}")


@needs_two_cpus
def test_the_quota_of_a_real_parent_group_counts(group: Path) -> None:
    child = group / "child"
    child.mkdir()
    set_quota(group, 100_000)
    assert budget_inside(child) == (1, f"a quota of 1 CPUs from control group {group}")
    set_quota(child, 50_000)
    assert budget_inside(child) == (1, f"a quota of 0.5 CPUs from control group {child}")


def test_threads_never_exceed_what_the_scheduler_allows() -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert 1 <= cpu_budget().threads <= allowed


# Other machines, told by their files


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("limit", "threads"),
    [
        ("max 100000", 8),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("200000 100000", 2),
        ("200001 100000", 3),
        ("1000 100000", 1),
        ("50000 10000", 5),
        ("800000 100000", 8),
        ("6400000 100000", 8),
    ],
)
def test_version_2_quotas_are_rounded_up(tmp_path: Path, limit: str, threads: int) -> None:
    files = {"sys/fs/cgroup/app.slice/cpu.max": limit + "\n"}
    budget = budget_of(tmp_path, "0::/app.slice\n", UNIFIED, files)
    assert budget.threads == threads
    if threads == 8:
        assert budget == NO_QUOTA
    else:
        assert budget.reason.startswith("a quota of ")
        assert budget.reason.endswith(f"from control group {tmp_path}/sys/fs/cgroup/app.slice")


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("outer", "inner", "threads", "which"),
    [
        ("300000 100000", "max 100000", 3, "a"),
        ("max 100000", "300000 100000", 3, "a/b/c"),
        ("200000 100000", "400000 100000", 2, "a"),
        ("400000 100000", "200000 100000", 2, "a/b/c"),
    ],
)
def test_the_smallest_quota_of_nested_groups_counts(
    tmp_path: Path, outer: str, inner: str, threads: int, which: str
) -> None:
    files = {"sys/fs/cgroup/a/cpu.max": outer, "sys/fs/cgroup/a/b/c/cpu.max": inner}
    budget = budget_of(tmp_path, "0::/a/b/c\n", UNIFIED, files)
    assert budget.threads == threads
    assert budget.reason.endswith(f" {tmp_path}/sys/fs/cgroup/{which}")


@pytest.mark.usefixtures("eight_cpus")
def test_the_quota_of_a_neighbour_does_not_count(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/a/b/cpu.max": "100000 100000", "sys/fs/cgroup/a/cpu.max": "max 100000"}
    assert budget_of(tmp_path, "0::/a\n", UNIFIED, files) == NO_QUOTA


@pytest.mark.usefixtures("eight_cpus")
def test_a_container_with_a_name_space_of_its_own_reads_its_quota_at_the_top(tmp_path: Path) -> None:
    budget = budget_of(tmp_path, "0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "250000 100000\n"})
    assert budget == CpuBudget(3, f"a quota of 2.5 CPUs from control group {tmp_path}/sys/fs/cgroup", by_quota=True)


@pytest.mark.usefixtures("eight_cpus")
def test_a_container_that_is_told_the_path_on_its_host_reads_its_quota_at_the_top(tmp_path: Path) -> None:
    """Docker without a name space, version 1: the mount shows the container's own part only, under another path."""
    cgroup = "12:cpuset:/docker/1f3a\n4:cpu,cpuacct:/docker/1f3a\n1:name=systemd:/docker/1f3a\n"
    mounts = CPU.replace(" / /sys", " /docker/1f3a /sys") + "\n" + CPUSET
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    expected = CpuBudget(
        2, f"a quota of 1.5 CPUs from control group {tmp_path}/sys/fs/cgroup/cpu,cpuacct", by_quota=True
    )
    assert budget_of(tmp_path, cgroup, mounts, files) == expected
    # And where the mount does not tell its root either.
    assert budget_of(tmp_path, cgroup, CPU, files) == expected


@pytest.mark.usefixtures("eight_cpus")
def test_a_group_inside_a_container_counts_with_the_container(tmp_path: Path) -> None:
    mounts = CPU.replace(" / /sys", " /docker/1f3a /sys")
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/worker/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu,cpuacct/worker/cpu.cfs_period_us": "25000",
    }
    budget = budget_of(tmp_path, "4:cpu,cpuacct:/docker/1f3a/worker\n", mounts, files)
    assert budget == CpuBudget(
        2, f"a quota of 2 CPUs from control group {tmp_path}/sys/fs/cgroup/cpu,cpuacct/worker", by_quota=True
    )


@pytest.mark.usefixtures("eight_cpus")
def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
    }
    assert budget_of(tmp_path, "4:cpu,cpuacct:/a\n", CPU, files) == NO_QUOTA


@pytest.mark.usefixtures("eight_cpus")
def test_a_host_with_both_versions_reads_the_one_that_has_the_cpus(tmp_path: Path) -> None:
    cgroup = "4:cpu,cpuacct:/a\n3:cpuset:/b\n0::/c\n"
    mounts = "\n".join([CPU, CPUSET, UNIFIED.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")])
    files = {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpuset/b/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpuset/b/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/c/cgroup.procs": "1\n",
    }
    assert budget_of(tmp_path, cgroup, mounts, files).threads == 3


@pytest.mark.usefixtures("eight_cpus")
def test_paths_with_spaces_and_colons_are_read(tmp_path: Path) -> None:
    mounts = UNIFIED.replace("/sys/fs/cgroup", "/my\\040groups")
    files = {"my groups/a:b.slice/c d/cpu.max": "300000 100000"}
    assert budget_of(tmp_path, "0::/a:b.slice/c d\n", mounts, files).threads == 3


@pytest.mark.usefixtures("eight_cpus")
def test_without_control_groups_affinity_decides(tmp_path: Path) -> None:
    assert cpu_budget(tmp_path) == NO_QUOTA
    assert budget_of(tmp_path, "", "", {}) == NO_QUOTA
    assert budget_of(tmp_path, "0::/\n", "", {}) == NO_QUOTA
    assert budget_of(tmp_path, "0::/gone\n4:cpu:/gone\n", UNIFIED + "\n" + CPU, {}) == NO_QUOTA


def test_without_affinity_the_cpus_of_the_machine_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, threads in ((3, 3), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert cpu_budget(tmp_path) == CpuBudget(threads, "the machine's CPUs")


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    "text", ["", "\n", "max", "100000", "x y", "100000 0", "1 2 3", "1.5 1", "\udcff 1", "max max"]
)
def test_a_malformed_quota_is_no_quota(tmp_path: Path, text: str) -> None:
    assert budget_of(tmp_path, "0::/a\n", UNIFIED, {"sys/fs/cgroup/a/cpu.max": text}) == NO_QUOTA
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": text.replace("100000", "0"),
    }
    assert budget_of(tmp_path, "4:cpu:/\n", CPU, files) == NO_QUOTA


GOOD = {"sys/fs/cgroup/a/cpu.max": "300000 100000"}


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize("line", ["", "garbage", "0", "0:", ":", "5:memory", "\udcff\udcfe"])
def test_a_malformed_membership_is_passed_over(tmp_path: Path, line: str) -> None:
    assert budget_of(tmp_path, f"{line}\n0::/a\n", UNIFIED, GOOD).threads == 3


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    "line",
    [
        "",
        "garbage",
        "1 2 3",
        "30 23 0:26 / /x rw - ",
        "30 23 0:26 / /x rw",
        "30 23 0:26 / /without-a-source rw - tmpfs  rw",
        "30 23 0:26 / /usb/caf\udce9 rw - vfat /dev/sdb1 rw",
        "30 23 0:26 / /a\u2028b rw - tmpfs tmpfs rw",
        "30 23 0:26 / /a\x1cb rw - tmpfs tmpfs rw",
    ],
)
def test_a_mount_that_is_malformed_or_named_oddly_is_passed_over(tmp_path: Path, line: str) -> None:
    """Mounts without a source, and with names that are not UTF-8 or hold line separators, are real."""
    assert budget_of(tmp_path, "0::/a\n", f"{line}\n{UNIFIED}", GOOD).threads == 3
