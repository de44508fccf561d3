"""The results of a run as text: printed, and as the table between two marks of the README."""

from collections.abc import Callable
from typing import Any

_COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("8 tok ms", lambda c: c["query_8"]["p50_ms"]),
    ("16 tok ms", lambda c: c["query_16"]["p50_ms"]),
    ("32 tok ms", lambda c: c["query_32"]["p50_ms"]),
    ("32 p99 ms", lambda c: c["query_32"]["p99_ms"]),
    ("128 tok ms", lambda c: c["documents_128"]["ms_per_text"]),
    ("512 tok ms", lambda c: c["documents_512"]["ms_per_text"]),
    ("corpus /s", lambda c: c["corpus"]["texts_per_s"]),
    ("first time /s", lambda c: c["corpus"]["first_time_texts_per_s"]),
    ("64 callers /s", lambda c: c["callers_64"].get("queries_per_s")),
    ("cold start s", lambda c: c["cold_start_s"]),
    ("import s", lambda c: c["import_s"]),
    ("peak RSS MB", lambda c: c["peak_rss_mb"]),
)
_SHORT = ("16 tok ms", "128 tok ms", "corpus /s", "cold start s", "peak RSS MB")

_BEGIN, _END = "<!-- benchmarks.speed.publish writes this", "<!-- to here -->"


def rows(results: dict[str, Any], *, short: bool = False) -> list[list[str]]:
    """A header and a line for each contender, the most texts per second first; ``short`` leaves columns out."""
    columns = [column for column in _COLUMNS if not short or column[0] in _SHORT]
    table = [["", *(name for name, _ in columns), "installed MB", "files MB", "cosine mean", "least"]]
    by_throughput = sorted(results["contenders"].values(), key=lambda c: -c["corpus"]["texts_per_s"]["median"])
    for contender in by_throughput:
        values = [get(contender) for _, get in columns]
        fidelity = contender["fidelity"] or {"mean_cosine": float("nan"), "min_cosine": float("nan")}
        table.append(
            [
                contender["label"],
                *(figure_text(value["median"]) if value else "failed" for value in values),
                f"{contender['installed_mb']:.0f}",
                f"{contender['files_mb']:.0f}",
                f"{fidelity['mean_cosine']:.5f}",
                f"{fidelity['min_cosine']:.4f}",
            ]
        )
    return table


def print_speed(results: dict[str, Any]) -> None:
    """Conditions, the table, what could not be had, the goals."""
    for name, value in results["conditions"].items():
        print(f"{name}: {value}")
    for contender in results["contenders"].values():
        versions = ", ".join(f"{name} {version}" for name, version in contender["versions"].items())
        print(f"{contender['label']}: {versions}")
    table = rows(results)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join([row[0].ljust(widths[0]), *figures]))
    for label, reason in results["unavailable"].items():
        print(f"{label}: not measured: {reason}")
    for goal in results["goals"]:
        print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['goal']}: {_reached(goal)} (goal {goal['bound']})")


def with_table(readme: str, speed: dict[str, Any]) -> str:
    """``readme`` with what stands between its marks written anew from ``speed``."""
    before, begin, rest = readme.partition(_BEGIN)
    mark, _, rest = rest.partition("\n")
    _, end, after = rest.partition(_END)
    return f"{before}{begin}{mark}\n{markdown(speed)}{end}{after}"


def markdown(speed: dict[str, Any]) -> str:
    """The table, the goals and under which conditions they were measured."""
    header, *body = rows(speed, short=True)
    lines = [header, ["---", *["--:"] * (len(header) - 1)]]
    lines += [[f"**{row[0]}**", *row[1:]] if row[0].startswith("embedge") else row for row in body]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    goals = "".join(
        f"| {goal['goal']} | {goal['bound']} | {_reached(goal)} | {'met' if goal['met'] else '**missed**'} |\n"
        for goal in speed["goals"]
    )
    missing = "".join(f"- {label}: not measured: {reason}\n" for label, reason in speed["unavailable"].items())
    conditions = speed["conditions"]
    return (
        f"\n{table}\n{missing}Medians of {conditions['rounds']} rounds, {conditions['threads']} threads, "
        f"{conditions['cpu']} with {', '.join(conditions['cpu_features'])}, {conditions['cpus']} CPUs, "
        f"{conditions['memory_gb']} GB, Python {conditions['python']}. Versions, the spread and the other works are in "
        "[`speed.json`](benchmarks/results/speed.json).\n\n"
        f"| embedge int8, ratio | goal | reached | |\n|---|--:|--:|---|\n{goals}\n"
    )


def _reached(goal: dict[str, Any]) -> str:
    if goal["ratio"] is None:
        return "not measured"
    least, most = goal["range"]
    return f"{goal['ratio']:.2f} ({least:.2f} to {most:.2f})"


def figure_text(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
