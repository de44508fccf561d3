"""What models of each size cost: export, bundle, cold start, memory and time of a text.

``python -m benchmarks.sizes`` exports models with random weights, int8, and writes ``benchmarks/results/sizes.json``.
``python -m benchmarks.sizes large --only export`` and then ``--only run`` do a part, and keep the other results of the
same machine. The largest needs 16 GB of memory. Bundles stay in ``.bench/sizes``.
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import export_cost, long_texts, start
from benchmarks.checkpoints import Size, write_random
from benchmarks.machine import machine, machine_text
from benchmarks.speed import texts
from benchmarks.speed.environments import BENCH
from benchmarks.speed.growth import interleaved
from benchmarks.speed.tables import figure_text, markdown
from embedge import Bundle, Embedder

RESULTS = Path(__file__).parent / "results" / "sizes.json"
SIZES = {
    "small": Size(),
    "base": Size(hidden=768),
    "large": Size(layers=24, hidden=1024, heads=16),
    "small-multilingual": Size(multilingual=True),
    "base-multilingual": Size(hidden=768, heads=12, multilingual=True),
    "large-multilingual": Size(layers=24, hidden=1024, heads=16, multilingual=True),
    "small-8192": Size(max_tokens=8192),
}
"""As bge-small, -base and -large; multilingual-e5-small and -base, and bge-m3 with shorter texts; and long texts."""
_TOKENS = (16, 128, 512)
_LONG_TOKENS = (1024, 2048, 4096, 8192)
_ROUNDS = 7


def main() -> None:
    """Measure, and write after each model."""
    options = _options()
    for name in options.names:
        size, bundle = SIZES[name], BENCH / "sizes" / name
        print(f"measuring {name}", flush=True)
        if options.only != "run":
            _keep(name, export_kept(size, bundle))
        if options.only != "export":
            _keep(name, run_long(bundle) if size.max_tokens >= max(_LONG_TOKENS) else run(bundle, _ROUNDS))
    print(table(_kept()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SIZES), help=f"of {', '.join(SIZES)}")
    parser.add_argument("--only", choices=("export", "run"), help="a part; both by default")
    options = parser.parse_args()
    unknown = set(options.names) - set(SIZES)
    if unknown:
        parser.error(f"there is no model {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    return options


def _keep(name: str, found: dict[str, Any]) -> None:
    results = _kept()
    results["models"].setdefault(name, {}).update(found)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _kept() -> dict[str, Any]:
    """The results of earlier runs on this machine."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found if found.get("machine") == machine() else {"machine": machine(), "models": {}}


def export_kept(size: Size, bundle: Path) -> dict[str, Any]:
    """Export a model of ``size`` to ``bundle``, which stays: its parameters, seconds and peak memory."""
    load = _load()
    shutil.rmtree(bundle, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        write_random(Path(place, "checkpoint"), size)
        weights = Path(place, "checkpoint", "model.safetensors").stat().st_size
        cost = export_cost.measure(Path(place, "checkpoint"), bundle)
    found = {name: round(cost[name], 1) for name in ("seconds", "peak_mb")}
    return {"parameters_m": round(weights / 4e6, 1), "export": {**found, "load": load}}


def run(bundle: Path, rounds: int) -> dict[str, Any]:
    """Size, cold start with its memory, and milliseconds for a text by its length."""
    load = _load()
    started = start.measure(bundle, rounds)
    with Embedder.load(bundle, variant="int8") as model:
        times = interleaved(model, {tokens: texts.texts_of(tokens, 1) for tokens in _TOKENS}, rounds)
    files = Bundle.open(bundle).manifest.files
    return {
        "load": load,
        "bundle_mb": round(sum(file.bytes for file in files.values()) / 1e6, 1),
        "tokenizer_mb": round(files["tokenizer.json"].bytes / 1e6, 1),
        "start": {
            "first_vector_s": started["seconds"]["first_vector"],
            "with_hashing_s": started["seconds"]["first_vector_with_hashing"],
            "read_tokenizer_s": started["steps"]["read tokenizer.json"],
            "peak_mb": started["peak_mb"],
        },
        "ms": {str(row["size"]): round(row["us_per_token"] * row["size"] / 1e3, 2) for row in times},
    }


def run_long(bundle: Path) -> dict[str, Any]:
    """Time and memory of one text, by its length."""
    return {"load": _load(), "texts": long_texts.measure(bundle, _LONG_TOKENS)}


def _load() -> float:
    """How many programs ran or waited for a CPU in the last minute, so that readers see what else did."""
    return round(os.getloadavg()[0], 1)


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    header = ["", "parameters, M", "export, s", "its peak, MB", "bundle, MB", "cold start, s", "the first time, s"]
    header += ["of it tokenizer, s", "its peak, MB", *(f"{tokens} tokens, ms" for tokens in _TOKENS)]
    lines = [header]
    for name, size in SIZES.items():
        row = results["models"].get(name)
        if row and "start" in row:
            starts = (row["start"][key]["median"] for key in ("first_vector_s", "with_hashing_s", "read_tokenizer_s"))
            exported = row["export"]
            figures = [row["parameters_m"], exported["seconds"], exported["peak_mb"], row["bundle_mb"], *starts]
            figures += [row["start"]["peak_mb"], *row["ms"].values()]
            label = f"{name}: {size.layers} layers, {size.hidden}"
            lines.append([label, *map(figure_text, figures)])
    long = [["one text, small", "ms", "memory that it adds, MB", "that stays, MB"]]
    for text in results["models"].get("small-8192", {}).get("texts", ()):
        figures = [text["ms"], text["added_mb"], text["kept_mb"]]
        long.append([f"{text['tokens']:,} tokens", *map(figure_text, figures)])
    exports = [row["export"]["load"] for row in results["models"].values() if "export" in row]
    runs = [row["load"] for row in results["models"].values() if "load" in row]
    loads = [
        f"{min(some):.1f} to {max(some):.1f} before {what}"
        for some, what in ((exports, "exports"), (runs, "runs"))
        if some
    ]
    return (
        f"{markdown(lines)}\n{markdown(long)}\nRandom weights, int8; {machine_text(results['machine'])}. "
        f"Load average of the machine: {', '.join(loads)}.\n"
    )


if __name__ == "__main__":
    main()
