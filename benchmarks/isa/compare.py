"""The vectors of each CPU compared with the native ones: the figures, the table, and what missed its goal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.isa.cpus import Cpu
from embedge.engine.choose import VARIANTS
from embedge.fingerprint import SMALLEST_COSINE
from embedge.vectors import FloatArray

LEAST_TO_FP32 = {"int8-reduced": 0.9985}
"""What the mean cosine to the native fp32 vectors must reach, for each variant."""

LEAST_TO_NATIVE = {
    "native": {"int8": 0.99999, "int8-reduced": 0.99999, "fp32": 0.99999},
    "x86_64": {"int8": 0.9997, "int8-reduced": 0.99999, "fp32": 0.99999},
    "aarch64": {"int8": 0.9997, "int8-reduced": 0.9993, "fp32": 0.99999},
}
"""What the mean cosine to the native vectors of the same variant must reach, for each machine.

Integers are exact everywhere, but kernels for other CPUs round float32 in other places. That tips an activation to the
next integer, after which everything differs by some steps of 8 bits, or of 7. Between AVX2 and AVX-512 the graph of
int8-reduced leaves no such place (:mod:`embedge_export.graph.attention`); on ARM LayerNormalization differs already.
"""

_EQUAL = 0.99999


@dataclass(frozen=True)
class Ran:
    """A variant that ran: its vectors of the texts, the fingerprint's least cosine, and the CPU time of both."""

    vectors: FloatArray
    fingerprint: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """What came of one CPU; variants that are not in ``ran`` were refused."""

    cpu: Cpu
    features: Sequence[str]
    versions: Mapping[str, str]
    int8_is_exact: bool
    chosen: str
    ran: Mapping[str, Ran]


@dataclass(frozen=True)
class Figures:
    """Cosines of a variant's vectors to the native ones of the same variant and of fp32, and the rest of `Ran`.

    ``native_equal`` is how many vectors have a cosine of 0.99999 or more to the native one.
    """

    native_mean: float
    native_least: float
    native_equal: int
    fp32_mean: float
    fp32_least: float
    fingerprint: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """One variant on one CPU; without ``figures`` where it was refused."""

    cpu: str
    emulator: str
    int8_is_exact: bool
    variant: str
    chosen: bool
    figures: Figures | None


def rows(run: Run, native: Run) -> list[Row]:
    """The table's rows of ``run``, one for each variant."""
    made = []
    for name in VARIANTS:
        figures = _figures(run.ran[name], native.ran[name], native.ran["fp32"]) if name in run.ran else None
        made.append(Row(run.cpu.name, run.cpu.emulator, run.int8_is_exact, name, name == run.chosen, figures))
    return made


def _figures(ran: Ran, native: Ran, fp32: Ran) -> Figures:
    same, exact = _cosines(ran.vectors, native.vectors), _cosines(ran.vectors, fp32.vectors)
    return Figures(
        native_mean=float(same.mean()),
        native_least=float(same.min()),
        native_equal=int((same >= _EQUAL).sum()),
        fp32_mean=float(exact.mean()),
        fp32_least=float(exact.min()),
        fingerprint=ran.fingerprint,
        seconds=ran.seconds,
    )


def _cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """In double precision, in which lengths are 1 to seven digits only."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosines: npt.NDArray[np.float64] = (x * y).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return cosines


def missed(run: Run, native: Run) -> list[str]:
    """What missed its goal on the CPU of ``run``, each in words that name the CPU; NaN misses."""
    where, found = f"{run.cpu.name} ({run.cpu.emulator})", []
    if run.int8_is_exact != run.cpu.int8_is_exact:
        found.append(f"{where}: the probe says int8_is_exact={run.int8_is_exact}")
    best = "int8" if run.int8_is_exact else "int8-reduced"
    if run.chosen != best:
        found.append(f"{where}: variant 'auto' is {run.chosen}, not {best}")
    for row in rows(run, native):
        right = row.variant != "int8" or run.int8_is_exact
        if (row.figures is not None) != right:
            found.append(f"{where}: {row.variant} {'was refused' if right else 'was not refused'}")
        if row.figures is None or not right:
            continue
        for measured, goal, what in (
            (
                row.figures.native_mean,
                LEAST_TO_NATIVE[run.cpu.machine][row.variant],
                "mean cosine to the same variant natively",
            ),
            (row.figures.fp32_mean, LEAST_TO_FP32.get(row.variant, -1.0), "mean cosine to fp32 natively"),
            (row.figures.fingerprint, SMALLEST_COSINE, "fingerprint's least cosine"),
        ):
            if not measured >= goal:
                found.append(f"{where}: {row.variant}: {what} is {measured:.6f}, less than {goal}")
    return found


def table(made: Sequence[Row]) -> str:
    """The rows as text, under a head of two lines."""
    head = [
        ("", "", "int8", "", "", "to the same", "", "", "to fp32", "", "finger-", "CPU"),
        ("CPU", "emulator", "exact", "variant", "auto", "mean", "least", "equal", "mean", "least", "print", "seconds"),
    ]
    lines: list[tuple[str, ...]] = list(head)
    for row in made:
        exact, chosen = "yes" if row.int8_is_exact else "no", "chosen" if row.chosen else ""
        cells: tuple[str, ...] = ("refused", "", "", "", "", "", "")
        if row.figures:
            f = row.figures
            same = (f"{f.native_mean:.6f}", f"{f.native_least:.6f}", f"{f.native_equal}")
            fits = "ok" if f.fingerprint >= SMALLEST_COSINE else "WRONG"
            cells = (*same, f"{f.fp32_mean:.6f}", f"{f.fp32_least:.6f}", fits, f"{f.seconds:.1f}")
        lines.append((row.cpu, row.emulator, exact, row.variant, chosen, *cells))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
