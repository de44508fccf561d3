"""Memory of the running process, as Linux counts it."""

from pathlib import Path


def forget_peak() -> None:
    """Let the kernel count the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most memory that was resident, mapped files included."""
    return _status_mb("VmHWM")


def resident_mb() -> float:
    """What is resident now, mapped files included."""
    return _status_mb("VmRSS")


def _status_mb(field: str) -> float:
    return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0]) * 1024 / 1e6
