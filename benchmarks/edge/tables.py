"""The results as a table."""

from typing import Any

from benchmarks.machine import machine_text
from benchmarks.speed.tables import figure_text, markdown

_COLUMNS = {
    "deployed_mb": "deployed, MB",
    "first_vector_s": "first vector, s",
    "query_ms": "query of 16 tokens, ms",
    "peak_mb": "peak memory, MB",
}

_BEST = (
    "AWS Lambda, x86_64, 512 MB",
    "server, low memory, embedge-kernels",
    "a page in a browser, WebAssembly, 1 thread",
)
"""Those of the README."""


def table(results: dict[str, Any]) -> str:
    """Markdown: a line for each way to deploy a bundle."""
    return _table(results["machine"], [row for rows in results["targets"].values() for row in rows])


def table_of(results: dict[str, Any], target: str) -> str:
    """The lines of one of the targets."""
    return _table(results["machine"], results["targets"][target])


def summary(results: dict[str, Any]) -> str:
    """Three ways, without how they were run."""
    rows = {row["target"]: row for rows in results["targets"].values() for row in rows}
    lines = [["", *_COLUMNS.values()], *(_line(rows[name]) for name in _BEST if name in rows)]
    return f"{markdown(lines)}\n{_conditions(results['machine'])}\n"


def _table(machine: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [["", *_COLUMNS.values(), "how it was run"], *([*_line(row), row["how"]] for row in rows)]
    return f"{markdown(lines, words_last=True)}\n{_conditions(machine)}\n"


def _line(row: dict[str, Any]) -> list[str]:
    return [row["target"], *("" if row[key] is None else figure_text(row[key]) for key in _COLUMNS)]


def _conditions(machine: dict[str, Any]) -> str:
    return f"bge-small's architecture, random weights, int8. {machine_text(machine)}."
