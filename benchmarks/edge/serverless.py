"""A function of AWS Lambda: what it has unzipped, its start, its queries and its memory, within an address space.

Run on one CPU by AWS's own client against a Runtime API on loopback (:mod:`.lambda_runtime`). Beside the rows for the
table of all targets it writes ``benchmarks/results/lambda.json``: sizes by package, and the start by step.
"""

import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.edge import Row
from benchmarks.edge.lambda_runtime import CLIENT, Function, unzip_read_only
from benchmarks.edge.lambda_steps import measure_hashing, measure_steps
from benchmarks.machine import machine, machine_text
from benchmarks.speed.environments import BENCH
from benchmarks.speed.tables import markdown
from embedge import Bundle, PackError
from embedge.pack.aws_lambda import PYTHONS, Packed, lambda_target, pack_function
from embedge.pack.bytecode import find_python
from embedge.pack.packages import put
from embedge.pack.target import Target

RESULTS = Path(__file__).parents[1] / "results" / "lambda.json"
GOALS = {"unzipped_mb": 160, "zip_mb": 75, "first_vector_s": 0.5, "peak_mb": 160}
"""What must not be exceeded."""

_MEMORY_MB = (256, 512, 1024)
_SHOWN_MB = (512, 1024)
_ROUNDS = 9
_QUERIES = 50
# 16 tokens with the two special ones.
_QUERY = "what runs at the edge of a small box in the cold north wind"


def measure(bundle: Path) -> list[Row]:
    """A row for each size of memory on x86-64, and the size alone on arm64."""
    place = BENCH / "edge" / "lambda"
    _clear(place)
    target, python = _target()
    opened = Bundle.open(bundle)
    packed = pack_function(opened, place / "x86_64.zip", target)
    unzip_read_only(place / "x86_64.zip", place / "function")
    put(CLIENT, target, place / "client")
    cpu = {max(os.sched_getaffinity(0))}
    runs = [_measure_function(place, python, memory, cpu) for memory in _MEMORY_MB]
    results: dict[str, Any] = {
        "machine": {**machine(), "python": target.version},
        "sizes_mb": {name: round(size / 1e6, 1) for name, size in packed.sizes.items()},
        **_sizes(packed),
        "arm64": _arm64(opened, place, target),
        "memory": runs,
        "rounds": _ROUNDS,
        "steps_ms": measure_steps(place / "function", place / "client", python, cpu),
        "hashing_ms": measure_hashing(place / "function" / "bundle", python, cpu),
        "goals": GOALS,
    }
    results["missed"] = _missed(results)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for miss in results["missed"]:
        print(f"missed: {miss}", file=sys.stderr)
    kernels = "with" if "embedge_kernels" in packed.sizes else "without"
    how = f"awslambdaric, Python {target.version}, one CPU, {{}} MiB of address space, {kernels} embedge-kernels"
    rows = [_row(run, packed, how) for run in runs if run["address_space_mb"] in _SHOWN_MB]
    if results["arm64"]:
        size = results["arm64"]["unzipped_mb"]
        rows.append(Row(
            target="AWS Lambda, arm64", deployed_mb=size, first_vector_s=None, query_ms=None, peak_mb=None,
            how="packed, not run",
        ))  # fmt: skip
    return rows


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: sizes, memory, and the start by step."""
    sizes = markdown([
        ["unzipped, MB", ""],
        *([name, f"{size:.1f}"] for name, size in results["sizes_mb"].items()),
        ["**all of it**", f"{results['unzipped_mb']:.1f}"],
        ["the zip file", f"{results['zip_mb']:.1f}"],
        *([["all of it for arm64", f"{results['arm64']['unzipped_mb']:.1f}"]] if results["arm64"] else []),
    ])  # fmt: skip
    columns = ["init_s", "first_ms", "first_vector_s", "query_ms", "peak_mb", "peak_address_space_mb"]
    names = [
        "init, s", "first invocation, ms", "**both, s**", "later ones, ms", "peak memory, MB", "peak address space, MB",
    ]  # fmt: skip
    memory = markdown([
        ["limit of the address space, MiB", *names],
        *([str(run["address_space_mb"]), *(f"{run[column]:.3g}" for column in columns)] for run in results["memory"]),
    ])  # fmt: skip
    steps = results["steps_ms"]
    hashing = results["hashing_ms"]
    start = markdown([
        ["the start by step, ms", "median"],
        *([name, f"{value:.0f}"] for name, value in steps.items()),
        ["**to the first vector**", f"{sum(steps.values()):.0f}"],
        ["not done: hash the bundle", f"{hashing['with SHA instructions']:.0f}"],
        ["not done: the same on a CPU without SHA instructions", f"{hashing['without']:.0f}"],
    ])  # fmt: skip
    about = (
        f"bge-small's architecture, random weights, int8, one CPU; medians of {results['rounds']} starts. "
        f"{machine_text(results['machine'])}.\n"
    )
    return f"{sizes}\n{memory}\n{start}\n{about}"


def _clear(place: Path) -> None:
    """An empty directory; the function of an earlier time lies there to be read only."""
    for path in [place, *place.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    if place.is_dir():
        shutil.rmtree(place)
    place.mkdir(parents=True)


def _target() -> tuple[Target, str]:
    """The oldest Python of Lambda's that is on this machine, else the one that runs."""
    for version in PYTHONS:
        target = lambda_target("x86_64", version)
        python = find_python(target)
        if python:
            return target, python
    return Target(sys.version_info[:2], "x86_64", 34), sys.executable


def _measure_function(place: Path, python: str, memory: int, cpus: set[int]) -> dict[str, Any]:
    rounds = []
    for _ in range(_ROUNDS):
        limits = {"memory_mb": memory, "address_space_mb": memory}
        with Function(place / "function", place / "client", python, **limits, cpus=cpus) as function:
            _, first = function.invoke({"input": _QUERY})
            queries = [function.invoke({"input": _QUERY})[1] for _ in range(_QUERIES)]
            rounds.append({
                "init_s": function.init_s,
                "first_ms": 1e3 * first,
                "first_vector_s": function.init_s + first,
                "query_ms": 1e3 * statistics.median(queries),
                "peak_mb": function.peak_mb,
                "peak_address_space_mb": function.peak_address_space_mb,
            })  # fmt: skip
    medians = {name: round(statistics.median(one[name] for one in rounds), 4) for name in rounds[0]}
    return {"address_space_mb": memory, **medians}


def _sizes(packed: Packed) -> dict[str, float]:
    return {
        "unzipped_mb": round(packed.unzipped / 1e6, 1),
        "zip_mb": round(packed.zipped / 1e6, 1),
        "left_out_mb": round(packed.left_out / 1e6, 1),
    }


def _arm64(bundle: Bundle, place: Path, target: Target) -> dict[str, float] | None:
    """The sizes for arm64; ``None`` where pip reaches no index."""
    try:
        return _sizes(pack_function(bundle, place / "arm64.zip", target._replace(machine="aarch64")))
    except PackError as exc:
        print(f"arm64: {exc}", file=sys.stderr)
        return None


def _row(run: dict[str, Any], packed: Packed, how: str) -> Row:
    return Row(
        target=f"AWS Lambda, x86_64, {run['address_space_mb']} MB",
        deployed_mb=round(packed.unzipped / 1e6, 1),
        first_vector_s=run["first_vector_s"],
        query_ms=run["query_ms"],
        peak_mb=run["peak_mb"],
        how=how.format(run["address_space_mb"]),
    )


def _missed(results: dict[str, Any]) -> list[str]:
    worst = {
        **{name: results[name] for name in ("unzipped_mb", "zip_mb")},
        **{name: max(run[name] for run in results["memory"]) for name in ("first_vector_s", "peak_mb")},
    }
    return [f"{name} is {worst[name]}, more than {goal}" for name, goal in GOALS.items() if worst[name] > goal]
