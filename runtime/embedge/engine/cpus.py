"""How many CPUs this process may really use: its affinity mask and the quotas of its control groups. And which ones.

``os.cpu_count`` gives the machine's cores; in a container with two of 64 that means 64 threads fighting for two.
"""

import math
import os
from pathlib import Path
from typing import NamedTuple

_FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


class CpuBudget(NamedTuple):
    """How many threads to use, and why."""

    threads: int
    reason: str
    """In words, for ``embedge doctor``."""
    by_quota: bool = False
    """Whether a quota is the reason: then the time that threads wait busily is taken from those that work."""


def cpu_budget(root: Path = Path("/")) -> CpuBudget:
    """Threads for this process: its affinity, or the CPU quota rounded up where that is less; at least 1.

    ``root`` is where ``proc`` is looked for and control groups are mounted.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed, reason = len(os.sched_getaffinity(0)), "CPU affinity"
    else:
        allowed, reason = os.cpu_count() or 1, "the machine's CPUs"
    quota, group = min(_quotas(root), default=(math.inf, ""))
    if quota < allowed:
        return CpuBudget(
            max(1, math.ceil(quota)), f"a quota of {quota:g} CPUs from control group {group}", by_quota=True
        )
    return CpuBudget(allowed, reason)


def cpu_name() -> str:
    """What the CPU calls itself, or else the name of its architecture."""
    import platform  # not needed at the start

    return cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Those of its instruction sets that decide which kernels ONNX Runtime takes, in Linux's names; empty elsewhere."""
    flags = cpuinfo("flags", "Features").split()
    return [feature for feature in _FEATURES if feature in flags]


def cpuinfo(*names: str) -> str:
    """The first value that Linux gives for one of ``names``; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in fields if name.strip() in names), "")


def _quotas(root: Path) -> list[tuple[float, str]]:
    """Every CPU quota on this process, of its own control group and those above, with the group's directory."""
    found = []
    for version, directory, top in _control_groups(root):
        # A quota binds the whole subtree, so each group up to the mount counts.
        for group in [directory, *directory.parents]:
            quota = _quota(group, version)
            if quota is not None:
                found.append((quota, str(group)))
            if group == top:
                break
    return found


def _quota(group: Path, version: int) -> float | None:
    """CPUs that ``group`` may use, ``None`` when it sets no limit."""
    try:
        if version == 2:
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        if limit in ("max", "-1"):
            return None
        return int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _control_groups(root: Path) -> list[tuple[int, Path, Path]]:
    """``(version, this process's directory, mount point)`` of each hierarchy that can limit CPUs."""
    try:
        # Paths are bytes; and splitlines would split them at more than line feeds.
        memberships = (root / "proc/self/cgroup").read_text(errors="surrogateescape").split("\n")
        mounts = (root / "proc/self/mountinfo").read_text(errors="surrogateescape").split("\n")
    except OSError:
        return []
    paths: dict[int, str] = {}
    for line in memberships:
        # "4:cpu,cpuacct:/docker/1f3a" for version 1, "0::/docker/1f3a" for version 2
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not path:
            continue
        if controllers == "":
            paths[2] = path
        elif "cpu" in controllers.split(","):
            paths[1] = path
    groups = []
    for line in mounts:
        # "30 23 0:26 /docker/1f3a /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu" (man 5 proc_pid_mountinfo)
        before, _, after = line.partition(" - ")
        fields, kind_source_options = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind_source_options) < 3:
            continue
        mount_root, mount_point = fields[3:5]
        kind, options = kind_source_options[0], kind_source_options[2]
        version = {"cgroup": 1, "cgroup2": 2}.get(kind)
        if version not in paths or (version == 1 and "cpu" not in options.split(",")):
            continue
        top = root / mount_point.lstrip("/").replace("\\040", " ")
        path = paths[version]
        # In a container the path is the one that the host sees, and the mount shows only the container's own part.
        inner = path.removeprefix(mount_root) if mount_root != "/" else path
        directory = top / inner.lstrip("/")
        groups.append((version, directory if directory.is_dir() else top, top))
    return groups
