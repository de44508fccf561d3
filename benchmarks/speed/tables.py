"""The results of a run as text: printed, and as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.machine import machine_text

_COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("8 tokens, ms", lambda c: c["query_8"]["p50_ms"]),
    ("16 tokens, ms", lambda c: c["query_16"]["p50_ms"]),
    ("32 tokens, ms", lambda c: c["query_32"]["p50_ms"]),
    ("32, p99, ms", lambda c: c["query_32"]["p99_ms"]),
    ("16 x 128 tokens, ms a text", lambda c: c["documents_128"]["ms_per_text"]),
    ("4 x 512 tokens, ms a text", lambda c: c["documents_512"]["ms_per_text"]),
    ("corpus, texts/s", lambda c: c["corpus"]["texts_per_s"]),
    ("first pass, texts/s", lambda c: c["corpus"]["first_time_texts_per_s"]),
    ("64 callers, queries/s", lambda c: c["callers_64"].get("queries_per_s")),
    ("cold start, s", lambda c: c["cold_start_s"]),
    ("import, s", lambda c: c["import_s"]),
    ("peak memory, MB", lambda c: c["peak_rss_mb"]),
)
_SUMMARY = ("16 tokens, ms", "corpus, texts/s", "cold start, s", "peak memory, MB")
_PEERS_IN_SUMMARY = 4


def rows(contenders: Sequence[dict[str, Any]], *, short: bool = False) -> list[list[str]]:
    """A header and a line for each contender, the most texts per second first; ``short`` leaves columns out."""
    columns = [column for column in _COLUMNS if not short or column[0] in _SUMMARY]
    sizes = [] if short else ["installed, MB", "files, MB"]
    table = [["", *(name for name, _ in columns), *sizes, "cosine, mean", "min"]]
    for contender in sorted(contenders, key=_throughput, reverse=True):
        values = [get(contender) for _, get in columns]
        fidelity = contender["fidelity"] or {"mean_cosine": float("nan"), "min_cosine": float("nan")}
        mb = [] if short else [f"{contender['installed_mb']:.0f}", f"{contender['files_mb']:.0f}"]
        table.append(
            [
                contender["label"],
                *(figure_text(value["median"]) if value else "failed" for value in values),
                *mb,
                f"{fidelity['mean_cosine']:.5f}",
                f"{fidelity['min_cosine']:.4f}",
            ]
        )
    return table


def print_speed(results: dict[str, Any]) -> None:
    """Conditions, the table, what was unavailable, the goals."""
    for name, value in results["conditions"].items():
        print(f"{name}: {value}")
    for contender in results["contenders"].values():
        versions = ", ".join(f"{name} {version}" for name, version in contender["versions"].items())
        print(f"{contender['label']}: {versions}")
    table = rows(list(results["contenders"].values()))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join([row[0].ljust(widths[0]), *figures]))
    for label, reason in results["unavailable"].items():
        print(f"{label}: not measured: {reason}")
    for goal in results["goals"]:
        print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['goal']}: {_reached(goal)} (goal {goal['bound']})")


def summary(speed: dict[str, Any]) -> str:
    """The rows of embedge, and of the four fastest projects beside it each one's fastest tuned row, as Markdown."""
    chosen, projects = [], set[str]()
    for contender in sorted(speed["contenders"].values(), key=_throughput, reverse=True):
        project = contender["packages"][0]
        if project == "embedge":
            chosen.append(contender)
        elif contender["tuned"] and project not in projects and len(projects) < _PEERS_IN_SUMMARY:
            projects.add(project)
            chosen.append(contender)
    return f"{contender_table(rows(chosen, short=True))}\n{measured(speed['conditions'])}\n"


def full(speed: dict[str, Any]) -> str:
    """The table, what the search found, the goals and the conditions, as Markdown."""
    conditions = speed["conditions"]
    searched = [["texts/s on a third of the corpus", "candidates"]]
    for contender in speed["contenders"].values():
        found = speed["searched_texts_per_s"].get(contender["contender"])
        if found and contender["tuned"]:
            label = contender["label"].partition(",")[0].partition(" (tuned")[0]
            searched.append([label, ", ".join(f"{knobs}: {figure_text(found[knobs])}" for knobs in found)])
    goals = [["embedge int8, ratio", "goal", "reached", ""]]
    goals += [
        [goal["goal"], goal["bound"], _reached(goal), "met" if goal["met"] else "**missed**"] for goal in speed["goals"]
    ]
    missing = "".join(f"- {label}: not measured: {reason}\n" for label, reason in speed["unavailable"].items())
    once = [c["label"] for c in speed["contenders"].values() if c["corpus"]["passes"] == 1]
    passes = f"Embedded once, since that took more than 8 seconds: {'; '.join(once)}.\n\n" if once else ""
    return (
        f"### {machine_text(conditions)}\n\n{measured(conditions)}\n\n"
        f"{contender_table(rows(list(speed['contenders'].values())))}\n{missing}{passes}{contender_table(goals)}\n{contender_table(searched)}"
    )


def markdown(lines: Sequence[Sequence[str]], *, words_last: bool = False) -> str:
    """Rows as Markdown; the first one is the header. Columns are numbers but for the first, or that and the last."""
    header, *body = lines
    numbers = ["--:"] * (len(header) - 1 - words_last)
    lines = [header, ["---", *numbers, *["---"] * words_last], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def contender_table(lines: list[list[str]]) -> str:
    """Rows as Markdown, those of embedge in bold."""
    bold = [[f"**{row[0]}**", *row[1:]] if row[0].startswith("embedge") else row for row in lines[1:]]
    return markdown([lines[0], *bold])


def measured(conditions: dict[str, Any]) -> str:
    """How many rounds, and where."""
    return f"Medians of {conditions['rounds']} rounds, {conditions['threads']} threads, {machine_text(conditions)}."


def _throughput(contender: dict[str, Any]) -> float:
    return float(contender["corpus"]["texts_per_s"]["median"])


def _reached(goal: dict[str, Any]) -> str:
    if goal["ratio"] is None:
        return "not measured"
    low, high = goal["range"]
    return f"{goal['ratio']:.2f} ({low:.2f} to {high:.2f})"


def figure_text(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
