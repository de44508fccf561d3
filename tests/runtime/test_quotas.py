"""CPU quotas of a real control group: the engine keeps within what it was given."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedge.engine.cpus import cpu_budget

V1 = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 100_000

# Queries with pauses, as a service has them, after a few for the start.
QUERIES = """
import json, os, sys, time
from pathlib import Path
from embedge import Embedder
group = Path(sys.argv[2])
(group / "cgroup.procs").write_text(str(os.getpid()))
threads = int(sys.argv[3]) or None
with Embedder.load(sys.argv[1], variant="int8", threads=threads) as model:
    def counters():
        lines = (group / "cpu.stat").read_text().splitlines()
        return {name: int(value) for name, value in map(str.split, lines)}
    def ask(times):
        for _ in range(times):
            model.embed_query("What runs at the edge of the network, and why there?")
            time.sleep(0.02)
    ask(5)
    before, began = counters(), time.process_time()
    ask(40)
    used = time.process_time() - began
    after = counters()
    found = {name: after[name] - before[name] for name in after}
    print(json.dumps({**found, "threads": model.threads, "used_s": used}))
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 1 of our own."""
    made = V1 / f"embedge-quota-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as exc:
        pytest.skip(f"no control group can be made in {V1}: {exc.strerror}")
    yield made
    made.rmdir()


def queries(bundle: Path, group: Path, cpus: float, threads: int = 0) -> dict[str, Any]:
    """What 40 queries cost that have so many CPUs; ``threads`` is 0 for as many as the engine wants."""
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(cpus * PERIOD_US)))
    except OSError as exc:
        pytest.skip(f"no quota can be set in {group}: {exc.strerror}")
    command = [sys.executable, "-c", QUERIES, str(bundle), str(group), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("cpus", [0.5, 1, 1.5, 2])
def test_threads_are_those_of_the_quota_and_queries_are_not_throttled(bundle: Path, group: Path, cpus: float) -> None:
    found = queries(bundle, group, cpus)
    assert found["threads"] == min(math.ceil(cpus), cpu_budget().threads)
    assert found["nr_throttled"] == 0


@pytest.mark.skipif(cpu_budget().threads < 2, reason="needs two CPUs")
def test_threads_do_not_use_up_the_quota_by_waiting(bundle: Path, group: Path) -> None:
    """Whoever asks for more threads than the quota has room for gets them, and is not throttled between texts."""
    one, two = queries(bundle, group, 0.5), queries(bundle, group, 0.5, threads=2)
    assert (one["threads"], two["threads"]) == (1, 2)
    assert two["used_s"] < 2.5 * one["used_s"]
    assert two["nr_throttled"] <= 1
