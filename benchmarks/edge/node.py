"""The example for Node.js: the bundle that Python runs, and the same as one file."""

import platform
import tempfile
from pathlib import Path

from benchmarks.edge import Row
from benchmarks.edge.node_packages import NodePackages, node_packages
from benchmarks.edge.programs import measure_program, megabytes
from benchmarks.speed.texts import text_of
from embedge.bundle import Bundle
from embedge.manifest import MANIFEST, TOKENIZER
from embedge_export import convert

_QUERY = text_of(16, 0)
# Node.js's names of processors.
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_PROGRAM = """
import { readFileSync } from "node:fs";
const [example, model, text] = process.argv.slice(2);
const { load } = await import(example);
const { embed } = await load(model);
await embed([text]);
console.log();
const times = [];
for (let i = 0; i < 100; i++) {
  const started = performance.now();
  await embed([text]);
  times.push(performance.now() - started);
}
times.sort((a, b) => a - b);
const peak = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
console.log(JSON.stringify([times[50], peak]));
"""


def measure(bundle: Path) -> list[Row]:
    """Both, with onnxruntime-node; :class:`benchmarks.speed.environments.Unavailable` without Node.js and npm."""
    packages = node_packages()
    with tempfile.TemporaryDirectory() as place:
        model = convert(bundle, Path(place) / "model.onnx")[0]
        return [
            _row("a bundle, Node.js", packages, "embed.mjs", bundle, _used(bundle), "its tokenizer in JavaScript"),
            _row("one ONNX file, Node.js", packages, "single_file.mjs", model, [model], "nothing but onnxruntime-node"),
        ]


def _used(bundle: Path) -> list[Path]:
    """The files of a bundle that the example reads."""
    variant = next(iter(Bundle.open(bundle).manifest.variants.values()))
    graph = next(graph for graph in variant.graphs if not graph.needs)
    return [bundle / name for name in (MANIFEST, TOKENIZER, graph.file, variant.weights)]


def _row(target: str, packages: NodePackages, example: str, model: Path, files: list[Path], how: str) -> Row:
    script = packages.place / "measure.mjs"
    script.write_text(_PROGRAM, encoding="utf-8")
    figures = measure_program(["node", script, packages.place / example, model, _QUERY])
    # The package has the libraries of five systems; one is needed.
    modules = packages.place / "node_modules"
    libraries = modules / "onnxruntime-node" / "bin"
    (own,) = libraries.glob(f"*/linux/{_MACHINES[platform.machine()]}")
    return Row(
        target=target,
        deployed_mb=megabytes(*files, modules) - megabytes(libraries) + megabytes(own),
        first_vector_s=figures.first_vector_s,
        query_ms=figures.query_ms,
        peak_mb=figures.peak_mb,
        how=f"{how}; 1 thread",
    )
