"""The graphs for ``embedge-kernels`` on this CPU and on emulated ones: their vectors must be the same to the bit.

A CPU takes the best instruction set that it has; ``EMBEDGE_ISA`` names another one.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.isa.cpus import EMULATED, NATIVE, ChildFailed, Cpu, Python

_CHILD = Path(__file__).with_name("kernels_child.py")
# Several times what the slowest takes.
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Asked:
    """A CPU, and the instruction set asked for; empty for the best."""

    cpu: Cpu
    isa: str = ""

    def __str__(self) -> str:
        return f"{self.cpu.name} ({self.cpu.emulator})" + (f" asked for {self.isa}" if self.isa else "")


REFERENCE = Asked(NATIVE)
RUNS = (Asked(NATIVE, "avx2"), Asked(NATIVE, "scalar"), *map(Asked, EMULATED))
"""What is compared with the reference."""


@dataclass(frozen=True)
class Ran:
    """What came of one: the instruction set that ran, a hash of each bundle's vectors, and the CPU time."""

    asked: Asked
    isa: str
    sha256: Mapping[str, str]
    seconds: float


def run_all(
    interpreters: Mapping[Cpu, Python], bundles: Sequence[Path], texts: Path, work: Path, side_by_side: int
) -> tuple[list[Ran], list[str]]:
    """The runs that ended well, the reference first, and what was missed."""

    def run(asked: Asked) -> Ran:
        out = work / f"kernels-{asked.cpu.name}-{asked.isa}.json"
        arguments = [str(texts), str(out), *map(str, bundles)]
        interpreters[asked.cpu].run(_CHILD, arguments, _LONGEST_SECONDS, asked.isa)
        return Ran(asked, **json.loads(out.read_text()))

    reference = run(REFERENCE)
    runs, misses = [reference], []
    with ThreadPoolExecutor(side_by_side) as pool:
        futures = {asked: pool.submit(run, asked) for asked in RUNS}
        for asked, future in futures.items():
            try:
                runs.append(future.result())
            except ChildFailed as exc:
                misses.append(f"kernels: {asked} failed: {exc}")
    return runs, misses + [miss for ran in runs for miss in missed(ran, reference)]


def missed(ran: Ran, reference: Ran) -> list[str]:
    """What missed its goal, each in words that name the CPU."""
    expected = ran.asked.isa or ran.asked.cpu.isa
    found = []
    if expected and ran.isa != expected:
        found.append(f"kernels: {ran.asked} ran {ran.isa}, not {expected}")
    for bundle, sha256 in reference.sha256.items():
        if ran.sha256.get(bundle) != sha256:
            found.append(f"kernels: {ran.asked}: {ran.isa} gives other bits for {bundle} than {reference.isa} natively")
    return found


def table(runs: Sequence[Ran]) -> str:
    """The runs as text; the first one is the reference."""
    lines = [("CPU", "emulator", "kernels", *runs[0].sha256, "CPU seconds")]
    for ran in runs:
        same = ["same bits" if ran.sha256[name] == sha256 else "OTHER" for name, sha256 in runs[0].sha256.items()]
        lines.append((ran.asked.cpu.name, ran.asked.cpu.emulator, ran.isa, *same, f"{ran.seconds:.1f}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
