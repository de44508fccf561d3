"""`make isa`: a bundle of the trained MiniLM on this CPU and on emulated ones, and how far their vectors differ.

By the graphs for ``embedge-kernels`` they may not differ at all; ``--only-kernels`` leaves the rest out.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.checkpoints import minilm
from benchmarks.isa import kernels
from benchmarks.isa.compare import Ran, Run, missed, rows, table
from benchmarks.isa.cpus import EMULATED, NATIVE, ChildFailed, Cpu, Python, python
from benchmarks.isa.debian import MissingPart
from benchmarks.isa.parts import emulator_version
from benchmarks.machine import machine
from embedge_export import export

_ROOT = Path(__file__).parents[2]
_PLACE = _ROOT / ".isa"
_RESULTS = _ROOT / "benchmarks" / "results" / "isa.json"
_KERNELS_RESULTS = _RESULTS.with_name("isa-kernels.json")
_CHILD = Path(__file__).with_name("child.py")

# CPUs emulated at a time; each takes one real one.
_SIDE_BY_SIDE = 2
# Several times what the slowest takes.
_LONGEST_SECONDS = 1200.0


# Vectors of short texts have fewer roundings that even out.
_SHORT = (
    "okay thanks",
    "yes",
    "edge box",
    "what time is it?",
    "Not today.",
    "the cat",
    "2 + 2",
    "hello",
    "fine",
    "no way",
)


def texts() -> list[str]:
    """20 of the demo's passages, of 15 to 58 tokens, every second one cut after its first sentence; and short texts."""
    passages = (_ROOT / "examples" / "passages.txt").read_text(encoding="utf-8").strip().split("\n\n")[::16]
    return [*(text.partition(". ")[0] if number % 2 else text for number, text in enumerate(passages)), *_SHORT]


def run_child(cpu: Cpu, interpreter: Python, bundle: Path, listed: Path, out: Path) -> Run:
    """Run the bundle on ``cpu``, for the texts in the file ``listed``; ``out`` is where its files go.

    Raises:
        ChildFailed: it ended with an error, or did not end.
    """
    out.mkdir()
    interpreter.run(_CHILD, [str(bundle), str(listed), str(out)], _LONGEST_SECONDS)
    report = json.loads((out / "report.json").read_text())
    ran = {name: Ran(np.load(out / f"{name}.npy"), **said) for name, said in report["ran"].items()}
    return Run(cpu, report["features"], report["versions"], report["exact_u8s8"], ran)


def run_all(
    interpreters: Mapping[Cpu, Python], bundle: Path, listed: Path, work: Path
) -> tuple[Run, list[Run], dict[str, str]]:
    """The native run, the emulated ones, and the errors of those that failed by the CPU's name."""
    print("running natively", flush=True)
    native = run_child(NATIVE, interpreters[NATIVE], bundle, listed, work / NATIVE.name)
    print(f"running {', '.join(cpu.name for cpu in EMULATED)}, {_SIDE_BY_SIDE} at a time", flush=True)
    runs, errors = [], {}
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        futures = {
            cpu: pool.submit(run_child, cpu, interpreters[cpu], bundle, listed, work / cpu.name) for cpu in EMULATED
        }
        for cpu, future in futures.items():
            try:
                runs.append(future.result())
            except ChildFailed as exc:
                errors[cpu.name] = str(exc)
    return native, runs, errors


def report(native: Run, runs: Sequence[Run], errors: Mapping[str, str], seconds: float) -> list[str]:
    """Print the table, write the results, and return what was missed."""
    everything = [native, *runs]
    made = [row for run in everything for row in rows(run, native)]
    print(f"\n{table(made)}\n")
    for run in everything:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        print(f"{run.cpu.name}: {' '.join(run.features)}; {versions}")
    misses = [miss for run in everything for miss in missed(run, native)]
    misses += [f"{cpu} failed: {error}" for cpu, error in errors.items()]
    results = {
        "machine": machine(),
        "emulator": emulator_version(_PLACE),
        "texts": len(texts()),
        "seconds_in_all": round(seconds),
        "cpus": {run.cpu.name: {"features": run.features, "versions": run.versions} for run in everything},
        "rows": [asdict(row) for row in made],
        "missed": misses,
    }
    _write(_RESULTS, results)
    print(f"\n{results['emulator']}; {seconds:.0f} seconds in all; written to {_RESULTS.relative_to(_ROOT)}")
    return misses


def report_kernels(runs: Sequence[kernels.Ran], misses: Sequence[str], seconds: float) -> None:
    """Print the table of the kernels, and write their results."""
    print(f"\n{kernels.table(runs)}\n")
    results = {
        "machine": machine(),
        "emulator": emulator_version(_PLACE),
        "texts": len(texts()),
        "seconds_in_all": round(seconds),
        "rows": [
            {"cpu": ran.asked.cpu.name, "emulator": ran.asked.cpu.emulator, "asked": ran.asked.isa}
            | {"isa": ran.isa, "sha256": ran.sha256, "seconds": ran.seconds}
            for ran in runs
        ],
        "missed": misses,
    }
    _write(_KERNELS_RESULTS, results)
    print(
        f"{len(texts())} texts in {seconds:.0f} seconds; written to {_KERNELS_RESULTS.relative_to(_ROOT)}", flush=True
    )


def _write(file: Path, results: Mapping[str, object]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Run `make isa`; 1 if something missed its goal or was unavailable."""
    parser = argparse.ArgumentParser(prog="make isa", description=__doc__)
    parser.add_argument("--only-kernels", action="store_true", help="leave out ONNX Runtime's own operators")
    only_kernels = parser.parse_args().only_kernels
    start = time.perf_counter()
    try:
        print(f"looking for the emulators and arm64 packages in {_PLACE.name}, or getting them", flush=True)
        # One after the other, since they share most of what they need.
        interpreters = {cpu: python(cpu, _PLACE) for cpu in (NATIVE, *EMULATED)}
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            print("exporting all-MiniLM-L6-v2", flush=True)
            # One whose last layer is computed for the first tokens alone, and one that is computed whole.
            bundle, cls = work / "mean", work / "cls"
            export(minilm(), bundle, precision=["int8", "fp32"])
            export(minilm(), cls, pooling="cls")
            listed = work / "texts.json"
            listed.write_text(json.dumps(texts()), encoding="utf-8")
            print("running the kernels", flush=True)
            began = time.perf_counter()
            ran, misses = kernels.run_all(interpreters, [bundle, cls], listed, work, _SIDE_BY_SIDE)
            report_kernels(ran, misses, time.perf_counter() - began)
            if not only_kernels:
                native, runs, errors = run_all(interpreters, bundle, listed, work)
                misses += report(native, runs, errors, time.perf_counter() - start)
    except (MissingPart, ChildFailed) as exc:
        print(f"make isa: {exc}", file=sys.stderr)
        return 1
    for miss in misses:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
