"""`make isa-test`: tests of the runtime on an emulated x86-64 CPU without VNNI, where int8 weights are unsigned.

The bundles are made by the real CPU first and kept, as all runs of the tests keep them; the emulated one runs them.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.isa.cpus import EMULATED, python
from benchmarks.isa.debian import MissingPart

_ROOT = Path(__file__).parents[2]
# What decides which int8 kernels run, and what they compute. Other tests are about files, processes and memory, in
# which CPUs don't differ, or take too long under emulation.
_TESTS = (
    "test_variants.py",
    "test_invariance.py::test_cls_pooling_gives_the_same_bits_in_every_batch[2-int8]",
    "test_invariance.py::test_a_query_without_prompt_has_the_bits_of_the_document",
    "test_lifetime.py::test_the_first_text_has_the_bits_of_the_second",
)
_LEFT_OUT = "test_two_embedders_share_one_copy_of_the_turned_weights"
_PASSAGES = "4"


def main() -> int:
    """Run `make isa-test`; pytest's exit code, or 1 where the emulator is unavailable."""
    tests = ["-q", "--deselect", f"tests/runtime/test_variants.py::{_LEFT_OUT}"]
    tests += [f"tests/runtime/{name}" for name in _TESTS]
    subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=_ROOT, check=True)
    cpu = next(cpu for cpu in EMULATED if cpu.name == "Haswell")
    try:
        interpreter = python(cpu, _ROOT / ".isa")
    except MissingPart as exc:
        print(f"make isa-test: {exc}", file=sys.stderr)
        return 1
    path = [_ROOT, _ROOT / "export", *interpreter.path]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QEMU"))}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["EMBEDGE_TEST_PASSAGES"] = _PASSAGES
    # Threads that wait busily for each other cost an emulator most of its time.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"the same with {_PASSAGES} passages on {cpu.name}, by {cpu.emulator}", flush=True)
    start = time.perf_counter()
    command = [*interpreter.command, "-s", "-P", "-m", "pytest", *tests]
    code = subprocess.run(command, cwd=_ROOT, env=environment).returncode
    print(f"{time.perf_counter() - start:.0f} seconds on {cpu.name}")
    return code


if __name__ == "__main__":
    sys.exit(main())
