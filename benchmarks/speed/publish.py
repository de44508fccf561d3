"""Results where people read them: pictures beside the JSON files, and the README's table between its two marks.

``python -m benchmarks.speed.publish``; the same files for the same results.
"""

import json
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.speed.environments import ROOT
from benchmarks.speed.tables import figure_text, with_table

RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
_OURS, _PEERS = "#0b6e4f", "#9aa5b1"

mpl.use("svg")
plt.rcParams.update(
    {
        "font.family": "sans-serif",
        "svg.hashsalt": "embedge",  # the same bytes for the same results
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
    }
)


def main() -> None:
    speed = json.loads((RESULTS / "speed.json").read_text())
    growth = json.loads((RESULTS / "growth.json").read_text())
    _save(_bars(speed["contenders"]), "speed.svg")
    _save(_growth(growth), "growth.svg")
    README.write_text(with_table(README.read_text(encoding="utf-8"), speed), encoding="utf-8")


def _save(figure: Any, name: str) -> None:
    figure.savefig(RESULTS / name, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def _bars(contenders: dict[str, Any]) -> Any:
    """Panels of horizontal bars, the whole range as a line."""
    panels: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
        ("Real paragraphs, texts per second", lambda c: c["corpus"]["texts_per_s"]),
        ("One query of 16 tokens, ms", lambda c: c["query_16"]["p50_ms"]),
        ("Fresh process to first vector, s", lambda c: c["cold_start_s"]),
        ("Peak memory, MB", lambda c: c["peak_rss_mb"]),
    )
    order = sorted(contenders, key=lambda name: contenders[name]["corpus"]["texts_per_s"]["median"])
    figure, axes = plt.subplots(1, len(panels), figsize=(14, 0.42 * len(order) + 1), sharey=True)
    for axis, (title, get) in zip(axes, panels, strict=True):
        values = [get(contenders[name]) for name in order]
        medians = [value["median"] for value in values]
        axis.barh(
            [contenders[name]["label"] for name in order],
            medians,
            color=[_OURS if name.startswith("embedge") else _PEERS for name in order],
        )
        widest = max(value["range"][1] for value in values)
        for row, value in enumerate(values):
            axis.plot(value["range"], [row, row], color="#333", linewidth=1)
            end = max(value["median"], value["range"][1]) + 0.02 * widest
            axis.text(end, row, figure_text(value["median"]), va="center", fontsize=8)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlim(0, 1.25 * widest)
        axis.tick_params(labelsize=8, length=0)
    figure.tight_layout()
    return figure


def _growth(growth: dict[str, Any]) -> Any:
    """Time for a token by text length, by list size and by corpus size, with the corpus's peak memory."""
    panels = (
        ("by_length", "Tokens of a text"),
        ("by_list", "Texts of 16 tokens in a list"),
        ("by_corpus", "Texts in a corpus"),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.2))
    for axis, (name, label) in zip(axes, panels, strict=True):
        sizes = [row["size"] for row in growth[name]]
        axis.plot(sizes, [row["us_per_token"] for row in growth[name]], "o-", color=_OURS)
        axis.set_xscale("log", base=10 if name == "by_corpus" else 2)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel(label, fontsize=9)
        axis.set_ylim(0, 1.15 * max(row["us_per_token"] for row in growth[name]))
        axis.tick_params(labelsize=8)
    axes[0].set_ylabel("µs a token", fontsize=9)
    memory = axes[2].twinx()
    memory.plot(
        [row["size"] for row in growth["by_corpus"]],
        [row["peak_rss_mb"] for row in growth["by_corpus"]],
        "s--",
        color=_PEERS,
    )
    memory.set_ylim(0, 1.5 * max(row["peak_rss_mb"] for row in growth["by_corpus"]))
    memory.set_ylabel("peak memory, MB (dashed)", fontsize=9)
    memory.tick_params(labelsize=8)
    memory.spines["right"].set_visible(True)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
