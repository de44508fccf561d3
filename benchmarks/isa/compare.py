"""The vectors of each CPU compared with the native ones: the figures, the table, and what missed its goal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.isa.cpus import Cpu
from embedge.vectors import FloatArray
from embedge_export.measure import cosines

LEAST_TO_FP32 = {"int8": 0.999, "fp32": 0.999999}
"""What the mean cosine to the native fp32 vectors must reach on every CPU; a third of the texts has a few tokens."""

LEAST_FINGERPRINT = {"int8": 0.998, "fp32": 0.999999}
"""What :func:`embedge.fingerprint.smallest_cosine` asks for; that it is not less than this is tested."""


@dataclass(frozen=True)
class Ran:
    """A variant that ran: its vectors, whether all its graphs gave their bits, the fingerprint, and the CPU time.

    ``sha256`` is that of the bytes of all vectors.
    """

    vectors: FloatArray
    graphs: Sequence[str]
    graphs_agree: bool
    sha256: str
    fingerprint: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """What came of one CPU."""

    cpu: Cpu
    features: Sequence[str]
    versions: Mapping[str, str]
    exact_u8s8: bool
    ran: Mapping[str, Ran]


@dataclass(frozen=True)
class Row:
    """One variant on one CPU: cosines of its vectors to the native ones of the same variant and of fp32.

    ``sha256`` is that of the bytes of all vectors, ``same_bits`` whether it is the native one.
    """

    cpu: str
    emulator: str
    exact_u8s8: bool
    variant: str
    graphs: Sequence[str]
    graphs_agree: bool
    sha256: str
    native_mean: float
    native_min: float
    same_bits: bool
    fp32_mean: float
    fp32_min: float
    fingerprint: float
    seconds: float


def rows(run: Run, native: Run) -> list[Row]:
    """The table's rows of ``run``, one for each variant."""
    made = []
    for name, ran in run.ran.items():
        same, exact = cosines(ran.vectors, native.ran[name].vectors), cosines(ran.vectors, native.ran["fp32"].vectors)
        made.append(
            Row(
                cpu=run.cpu.name,
                emulator=run.cpu.emulator,
                exact_u8s8=run.exact_u8s8,
                variant=name,
                graphs=ran.graphs,
                graphs_agree=ran.graphs_agree,
                sha256=ran.sha256,
                native_mean=float(same.mean()),
                native_min=float(same.min()),
                same_bits=ran.sha256 == native.ran[name].sha256,
                fp32_mean=float(exact.mean()),
                fp32_min=float(exact.min()),
                fingerprint=ran.fingerprint,
                seconds=ran.seconds,
            )
        )
    return made


def missed(run: Run, native: Run) -> list[str]:
    """What missed its goal on the CPU of ``run``, each in words that name the CPU; NaN misses."""
    where, found = f"{run.cpu.name} ({run.cpu.emulator})", []
    if run.cpu.exact_u8s8 not in (None, run.exact_u8s8):
        found.append(f"{where}: the probe says exact_u8s8={run.exact_u8s8}")
    for row in rows(run, native):
        if not row.graphs_agree:
            found.append(f"{where}: {row.variant}: {' and '.join(row.graphs)} give different bits")
        for measured, goal, what in (
            (row.fp32_mean, LEAST_TO_FP32[row.variant], "mean cosine to fp32 natively"),
            (row.fingerprint, LEAST_FINGERPRINT[row.variant], "fingerprint's minimum cosine"),
        ):
            if not measured >= goal:
                found.append(f"{where}: {row.variant}: {what} is {measured:.6f}, less than {goal}")
    return found


def table(made: Sequence[Row]) -> str:
    """The rows as text, under a head of two lines."""
    head = [
        ("", "", "u8s8", "", "", "to native", "", "same", "to fp32", "", "finger-", "CPU"),
        ("CPU", "emulator", "exact", "variant", "graphs", "mean", "min", "bits", "mean", "min", "print", "seconds"),
    ]
    lines: list[tuple[str, ...]] = list(head)
    for row in made:
        exact = "yes" if row.exact_u8s8 else "no"
        same = (f"{row.native_mean:.6f}", f"{row.native_min:.6f}", "yes" if row.same_bits else "no")
        rest = (f"{row.fp32_mean:.6f}", f"{row.fp32_min:.6f}", f"{row.fingerprint:.6f}", f"{row.seconds:.1f}")
        agree = f"{len(row.graphs)}" if row.graphs_agree else "DIFFER"
        lines.append((row.cpu, row.emulator, exact, row.variant, agree, *same, *rest))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
