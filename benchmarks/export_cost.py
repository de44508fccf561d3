"""Time and peak memory of an export by step: ``python -m benchmarks.export_cost``, into ``results/export.json``.

bge-small's architecture with random weights, int8. It runs in a process of its own, which loads no torch.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import write_bge_small
from benchmarks.machine import machine, machine_text
from benchmarks.memory import forget_peak, peak_mb
from benchmarks.speed.tables import markdown

RESULTS = Path(__file__).parent / "results" / "export.json"


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as name:
        write_bge_small(Path(name, "checkpoint"))
        results = {"machine": machine(), **measure(Path(name, "checkpoint"), Path(name, "bundle"))}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


def measure(checkpoint: Path, bundle: Path) -> dict[str, Any]:
    """Seconds and peak memory of each step of an export of ``checkpoint`` to ``bundle``, and of the whole."""
    command = [sys.executable, "-m", "benchmarks.export_cost", str(checkpoint), str(bundle)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [["step", "s", "peak memory, MB"]]
    lines += [[step["step"], f"{step['seconds']:.1f}", f"{step['peak_mb']:.0f}"] for step in results["steps"]]
    lines += [["**in all**", f"{results['seconds']:.1f}", f"{results['peak_mb']:.0f}"]]
    return (
        f"{markdown(lines)}\nbge-small's architecture, int8, once; torch loaded: "
        f"{'yes' if results['torch_loaded'] else 'no'}; {machine_text(results['machine'])}.\n"
    )


def _export(checkpoint: Path, bundle: Path) -> dict[str, Any]:
    """Export in this process; the steps of the layers are one."""
    began = last = time.perf_counter()
    steps: list[dict[str, Any]] = []

    def end_step() -> None:
        if steps:
            steps[-1]["seconds"] += time.perf_counter() - last
            steps[-1]["peak_mb"] = max(steps[-1]["peak_mb"], peak_mb())
        forget_peak()

    def on_step(line: str) -> None:
        nonlocal last
        end_step()
        last = time.perf_counter()
        name = "quantizing the layers" if line.startswith("quantizing layer") else line.replace(str(checkpoint), "it")
        if not steps or steps[-1]["step"] != name:
            steps.append({"step": name, "seconds": 0.0, "peak_mb": 0.0})

    on_step("importing the exporter")
    from embedge_export import export

    export(checkpoint, bundle, on_step=on_step)
    end_step()
    return {
        "seconds": time.perf_counter() - began,
        "peak_mb": max(step["peak_mb"] for step in steps),
        "torch_loaded": "torch" in sys.modules,
        "steps": steps,
    }


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(_export(Path(sys.argv[1]), Path(sys.argv[2]))))
    else:
        main()
