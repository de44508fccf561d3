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

_BEST = ("serverless", "small_boxes", "browser")
"""Targets whose first rows the README has."""


def table(results: dict[str, Any]) -> str:
    """Markdown: a line for each way to deploy a bundle."""
    return _table(results["machine"], [row for rows in results["targets"].values() for row in rows])


def table_of(results: dict[str, Any], target: str) -> str:
    """The lines of one of the targets."""
    return _table(results["machine"], results["targets"][target])


def summary(results: dict[str, Any]) -> str:
    """The same of three ways."""
    return _table(results["machine"], [results["targets"][name][0] for name in _BEST if name in results["targets"]])


def _table(machine: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    header = ["", *_COLUMNS.values(), "how it was run"]
    lines = [[row["target"], *(_figure(row[key]) for key in _COLUMNS), row["how"]] for row in rows]
    return f"{markdown([header, *lines])}\nbge-small's architecture, random weights, int8. {machine_text(machine)}.\n"


def _figure(value: float | None) -> str:
    return "" if value is None else figure_text(value)
