"""The image of ``examples/container`` in a plain directory, with quotas of CPUs and limits of memory."""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.edge import Row, image, sandbox
from benchmarks.edge.served import Served, percentiles, served
from benchmarks.speed.environments import BENCH, ROOT

_PLACE = ROOT / "examples" / "container"
_CPUS = (0.5, 1, 1.5, 2)
_LIMITS_MB = (128, 112, 96)
_QUERIES = 300


def measure(bundle: Path) -> list[Row]:
    """A row for each quota, and for each limit of memory; ``Unavailable`` where there are no name spaces."""
    sandbox.check()
    built = _build(bundle)
    deployed = sum(path.stat().st_size for path in built.root.rglob("*") if path.is_file()) / 1e6
    rows = [_with_quota(built, deployed, cpus) for cpus in _CPUS]
    return [*rows, *(_with_limit(built, deployed, limit) for limit in _LIMITS_MB)]


def _build(bundle: Path) -> image.Stage:
    place = BENCH / "edge" / "image"
    shutil.rmtree(place, ignore_errors=True)
    context = place / "context"
    image.copy_context(ROOT, _PLACE / "Containerfile.dockerignore", context, bundles=False)
    # Without the note of an earlier load, which an image has not.
    shutil.copytree(bundle, context / "models" / "bundle", ignore=shutil.ignore_patterns(".verified"))
    return image.build(_PLACE / "Containerfile", context, place / "out", {})


def _with_quota(built: image.Stage, deployed: float, cpus: float) -> Row:
    with sandbox.quota(cpus) as group, _serving(built, group, low_memory=False) as server:
        before = _counters(group)
        times = server.queries(_QUERIES)
        after = _counters(group)
        crowd = server.crowd(8, 16, 50)
        throttled, periods = (after[name] - before[name] for name in ("nr_throttled", "nr_periods"))
        return Row(
            target=f"container, a quota of {cpus:g} CPU",
            deployed_mb=deployed,
            first_vector_s=server.first_vector_s,
            query_ms=statistics.median(times),
            peak_mb=server.memory_mb("VmHWM"),
            how=f"{percentiles(times)}, throttled in {throttled} of {periods} periods; 8 clients at once "
            f"{percentiles(crowd)}; without the base image",
        )


def _with_limit(built: image.Stage, deployed: float, limit: int) -> Row:
    _forget(built.root)
    with (
        sandbox.group("memory", {"memory.limit_in_bytes": limit * 1_000_000}) as group,
        _serving(built, group, low_memory=True) as server,
    ):
        times = server.queries(_QUERIES // 3)
        server.crowd(16, 512, 1)
        killed = (group / "memory.oom_control").read_text().rpartition("oom_kill ")[2].strip()
        return Row(
            target=f"container, {limit} MB of memory",
            deployed_mb=deployed,
            first_vector_s=server.first_vector_s,
            query_ms=statistics.median(times),
            peak_mb=server.memory_mb("VmHWM"),
            how=f"--low-memory, files not read before; {percentiles(times)}; then 16 clients at once, 512 tokens: "
            f"{killed} kills",
        )


@contextlib.contextmanager
def _serving(built: image.Stage, group: Path, *, low_memory: bool) -> Iterator[Served]:
    options = ["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]
    program = [*built.entrypoint, *options, *(["--low-memory"] if low_memory else [])]
    command = sandbox.command(built.root, program, built.environment, [group], built.user)
    with served(command, sandbox.first_process, _end) as server:
        yield server


def _end(started: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        os.kill(sandbox.first_process(started), signal.SIGTERM)
        started.wait(60)
    sandbox.kill(started)


def _counters(group: Path) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, (group / "cpu.stat").read_text().splitlines())}


def _forget(root: Path) -> None:
    """Have the system read the files from the disk, and count them for who does."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
