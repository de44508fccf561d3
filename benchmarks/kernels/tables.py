"""What `python -m benchmarks.kernels` measured, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import machine_text
from benchmarks.speed.tables import figure_text, markdown

_PEAK_SHARE = 0.85


def table(results: dict[str, Any]) -> str:
    """The results as lines of Markdown."""
    passes = [["one text of", "ONNX Runtime's kernels, ms", "embedge-kernels, ms", "times as fast", "goal"]]
    for row in results["passes"]:
        figures = [figure_text(row["ms"]["stock"]), figure_text(row["ms"]["kernels"]), f"{row['ratio']:.2f}"]
        passes.append([f"{row['tokens']} tokens", *figures, f"{row['goal']:.1f}"])
    loads = [["", "ONNX Runtime's kernels", "embedge-kernels"]]
    for name, key in (("load and first vector, ms", "ms"), ("peak memory of the process, MB", "peak_mb")):
        loads.append([name, *(figure_text(results["loads"][kind][key]) for kind in ("stock", "kernels"))])
    tables = [markdown(passes), markdown(loads), *_steps(results["steps"])]
    where = f"{results['kernels']}, against `{results['stock']}`, ONNX Runtime {results['onnxruntime']}"
    return "\n\n".join([*tables, f"One thread, its processor time; {where}; {machine_text(results['machine'])}."])


def _steps(steps: Sequence[Mapping[str, float]]) -> list[str]:
    peak = next((line["peak_gops"] for line in steps if "peak_gops" in line), None)
    lines = [["one layer, a text of", "query, key, value: GOPS", "attention: GOPS", "the rest: GOPS"]]
    for step in steps:
        if "tokens" in step:
            figures = [step[key] for key in ("project_gops", "attend_gops", "feed_gops")]
            lines.append([f"{step['tokens']:.0f} tokens", *map(figure_text, figures)])
    if peak is None:
        return [markdown(lines)]
    share = max(step["project_gops"] for step in steps if "tokens" in step) / peak
    reached = f"{100 * share:.0f} % of it (goal {100 * _PEAK_SHARE:.0f} %)"
    return [
        markdown(lines),
        f"A loop of int8 products on registers alone reaches {peak:.0f} GOPS, the products {reached}.",
    ]
