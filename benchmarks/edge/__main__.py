"""What embedge costs on each target of the docs: size, first vector, a query, memory.

``python -m benchmarks.edge`` exports bge-small's architecture with random weights, int8, measures every target and
writes ``benchmarks/results/edge.json``; with names of targets only those, keeping the others' rows of the same machine.
A target that can't be measured on this machine is told and left out.
"""

import argparse
import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import write_bge_small
from benchmarks.edge.tables import table
from benchmarks.machine import machine
from benchmarks.speed.environments import BENCH, Unavailable
from embedge_export import export

RESULTS = Path(__file__).parents[1] / "results" / "edge.json"
TARGETS = ("serverless", "small_boxes", "containers", "browser", "single_file", "node")


def main() -> None:
    """Measure, and write after each target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(TARGETS), help=f"of {', '.join(TARGETS)}")
    names = parser.parse_args().names
    unknown = set(names) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    bundle = _bundle()
    for name in names:
        print(f"measuring {name}", flush=True)
        try:
            rows = importlib.import_module(f"benchmarks.edge.{name}").measure(bundle)
        except Unavailable as exc:
            print(f"{name}: {exc}", flush=True)
            continue
        _keep(name, rows)
    print(table(_kept()))


def _bundle() -> Path:
    """The bundle that all targets deploy, made once."""
    bundle = BENCH / "edge" / "bge-small"
    if not bundle.is_dir():
        bundle.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place:
            checkpoint = Path(place) / "bge-small"
            write_bge_small(checkpoint)
            export(checkpoint, bundle, precision="int8")
    return bundle


def _kept() -> dict[str, Any]:
    """The results so far of this machine."""
    here = machine()
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    return kept if kept.get("machine") == here else {"machine": here, "targets": {}}


def _keep(name: str, rows: list[Any]) -> None:
    results = _kept()
    results["targets"][name] = rows
    results["targets"] = {target: results["targets"][target] for target in TARGETS if target in results["targets"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
