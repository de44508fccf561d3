"""`make isa-test`: the runtime's tests on an emulated x86-64 CPU without VNNI, where int8 weights are unsigned."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.isa.cpus import EMULATED, python
from benchmarks.isa.debian import MissingPart

_ROOT = Path(__file__).parents[2]
# What computes vectors or chooses how to. The others are about files, processes and memory, in which CPUs don't differ.
_TESTS = ("test_variants.py", "test_invariance.py", "test_lifetime.py", "test_fp16.py", "test_bundle.py")


def main() -> int:
    """Run `make isa-test`; pytest's exit code, or 1 where the emulator could not be had."""
    tests = [str(_ROOT / "tests" / "runtime" / name) for name in _TESTS]
    # The bundles are made, and kept, by the real CPU.
    command = [sys.executable, "-m", "pytest", "-q", "-k", "bits", *tests]
    subprocess.run(command, cwd=_ROOT, check=True)
    cpu = next(cpu for cpu in EMULATED if cpu.name == "Haswell")
    try:
        interpreter = python(cpu, _ROOT / ".isa")
    except MissingPart as exc:
        print(f"make isa-test: {exc}", file=sys.stderr)
        return 1
    path = [_ROOT, _ROOT / "export", *interpreter.path]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QEMU"))}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    # Threads that wait busily for each other cost an emulator most of its time.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"the same on {cpu.name}, by {cpu.emulator}, and the rest of {', '.join(_TESTS)}", flush=True)
    start = time.perf_counter()
    command = [*interpreter.command, "-s", "-P", "-m", "pytest", "-q", *tests]
    code = subprocess.run(command, cwd=_ROOT, env=environment).returncode
    print(f"{time.perf_counter() - start:.0f} seconds on {cpu.name}")
    return code


if __name__ == "__main__":
    sys.exit(main())
