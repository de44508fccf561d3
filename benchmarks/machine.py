"""The machine that figures were measured on: it stands in every results file, and names some of them."""

import os
import platform
from typing import Any

from embedge.engine.cpus import cpu_features, cpu_name

_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}


def machine() -> dict[str, Any]:
    """The CPU, what it can do, how many of it, memory, system and Python."""
    return {
        "cpu": cpu_name(),
        "cpu_features": cpu_features(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def machine_text(about: dict[str, Any]) -> str:
    """What :func:`machine` said, in words."""
    features = ", ".join(about["cpu_features"]) or "no known features"
    return (
        f"{about['cpu']} ({features}), {about['cpus']} CPUs, {about['memory_gb']} GB, {about['system'].split()[0]}, "
        f"Python {about['python']}"
    )


def cpu_kind() -> str:
    """``"vnni"``, ``"avx2"`` or the architecture's name: CPUs of one kind have the same int8 instructions."""
    features = set(cpu_features())
    if features & _VNNI:
        return "vnni"
    return "avx2" if "avx2" in features else platform.machine()
