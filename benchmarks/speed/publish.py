"""Results where people read them: pictures beside the JSON files, and tables between marks of README and docs.

``python -m benchmarks.speed.publish``; the same files for the same results. A mark is ``<!-- NAME -->``, and what
stands between it and the next ``<!-- end -->`` is written anew from all results files that there are.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks import export_cost, operators, rerankers, sizes, start
from benchmarks.edge import serverless, token_ids
from benchmarks.edge import tables as edge
from benchmarks.kernels import tables as kernels
from benchmarks.server import tables as server
from benchmarks.speed import rerank, tables
from benchmarks.speed.environments import ROOT
from benchmarks.speed.tables import figure_text

RESULTS = ROOT / "benchmarks" / "results"
README, DOCS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
_WITH_TABLES = (
    "reranking",
    "kernels",
    "choosing",
    "lambda",
    "containers",
    "small-boxes",
    "browser",
    "phones",
)
PAGES = (
    README,
    DOCS,
    *(ROOT / "docs" / f"{name}.md" for name in _WITH_TABLES),
)
_OURS, _TUNED, _DEFAULT = "#0b6e4f", "#52606d", "#c3cbd3"
_END = "<!-- end -->"

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
    speeds = speed_results()
    for speed in speeds:
        _save(_bars(speed["contenders"]), f"speed-{speed['conditions']['kind']}.svg")
    _save(_growth(_read(RESULTS / "growth.json")), "growth.svg")
    for page in PAGES:
        page.write_text(published(page.read_text(encoding="utf-8"), speeds, RESULTS), encoding="utf-8")


def speed_results() -> list[dict[str, Any]]:
    """What ``make bench`` wrote on each kind of CPU; those with VNNI first."""
    return [_read(path) for path in sorted(RESULTS.glob("speed-*.json"), reverse=True)]


def published(page: str, speeds: list[dict[str, Any]], results: Path) -> str:
    """``page`` with what stands at its marks made from ``speeds`` and the other files in ``results``."""
    contents: dict[str, Callable[[], str]] = {
        "speed: summary": lambda: "\n".join(tables.summary(speed) for speed in speeds),
        "speed: all": lambda: "\n".join(tables.full(speed) for speed in speeds),
        "start": lambda: start.table(_read(results / "start.json")),
        "export": lambda: export_cost.table(_read(results / "export.json")),
        "rerankers": lambda: "\n".join(
            rerank.table(_read(path)) for path in sorted(results.glob("rerankers-*.json"), reverse=True)
        ),
        "reranker quality": lambda: rerankers.table(_read(results / "reranker-quality.json")),
        "kernels": lambda: "\n".join(
            kernels.table(_read(path)) for path in sorted(results.glob("kernels-*.json"), reverse=True)
        ),
        "sizes": lambda: sizes.table(_read(results / "sizes.json")),
        "server": lambda: server.table(_read(results / "server.json")),
        "edge": lambda: edge.table(_read(results / "edge.json")),
        "edge: small boxes": lambda: edge.table_of(_read(results / "edge.json"), "small_boxes"),
        "edge: containers": lambda: edge.table_of(_read(results / "edge.json"), "containers"),
        "edge: browser": lambda: edge.table_of(_read(results / "edge.json"), "browser"),
        "edge: summary": lambda: edge.summary(_read(results / "edge.json")),
        "lambda": lambda: serverless.table(_read(results / "lambda.json")),
        "token ids": lambda: token_ids.table(_read(results / "token-ids.json")),
        "operators": lambda: operators.table(_read(results / "operators.json")),
    }
    for name, content in contents.items():
        if f"<!-- {name} -->" in page:
            page = filled(page, name, content())
    return page


def filled(page: str, name: str, content: str) -> str:
    """``page`` with ``content`` between ``<!-- name -->`` and the next ``<!-- end -->``.

    Raises:
        ValueError: the page lacks one of the two.
    """
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(_END)
    if not (mark and end):
        raise ValueError(f"the page has no <!-- {name} --> with {_END} behind it; add them, a line each")
    body = f"\n{content.strip()}\n\n" if content else ""
    return f"{before}{mark}{body}{end}{after}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _save(figure: Any, name: str) -> None:
    figure.savefig(RESULTS / name, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def _bars(contenders: dict[str, Any]) -> Any:
    """Panels of horizontal bars, the whole range as a line; rows that are not tuned are pale."""
    panels: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
        ("Real paragraphs, texts per second", lambda c: c["corpus"]["texts_per_s"]),
        ("One query of 16 tokens, ms", lambda c: c["query_16"]["p50_ms"]),
        ("Fresh process to first vector, s", lambda c: c["cold_start_s"]),
        ("Peak memory, MB", lambda c: c["peak_rss_mb"]),
    )
    order = sorted(contenders, key=lambda name: contenders[name]["corpus"]["texts_per_s"]["median"])
    colors = [
        _OURS if name.startswith("embedge") else _TUNED if contenders[name]["tuned"] else _DEFAULT for name in order
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(14, 0.36 * len(order) + 1), sharey=True)
    for axis, (title, get) in zip(axes, panels, strict=True):
        values = [get(contenders[name]) for name in order]
        axis.barh([contenders[name]["label"] for name in order], [value["median"] for value in values], color=colors)
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
        color=_DEFAULT,
    )
    memory.set_ylim(0, 1.5 * max(row["peak_rss_mb"] for row in growth["by_corpus"]))
    memory.set_ylabel("peak memory, MB (dashed)", fontsize=9)
    memory.tick_params(labelsize=8)
    memory.spines["right"].set_visible(True)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
