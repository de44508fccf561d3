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


def table(results: dict[str, Any], targets: set[str] | None = None) -> str:
    """Markdown: a line for each way to deploy a bundle, or for those of ``targets`` only."""
    rows = [row for name, found in results["targets"].items() if not targets or name in targets for row in found]
    header = ["", *_COLUMNS.values(), "how it was run"]
    lines = [[row["target"], *(_figure(row[key]) for key in _COLUMNS), row["how"]] for row in rows]
    return (
        f"{markdown([header, *lines])}\n"
        f"bge-small's architecture, random weights, int8. {machine_text(results['machine'])}.\n"
    )


def _figure(value: float | None) -> str:
    return "" if value is None else figure_text(value)
