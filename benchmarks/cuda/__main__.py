"""Tokens a second, latency of a query and share of the GPU's peak, of embedge's fp16 and of its peers.

``python -m benchmarks.cuda`` needs an NVIDIA GPU and writes ``benchmarks/results/cuda.json``.
``--device cpu --texts 8`` only tries the code. Contenders run in ``--python``, an interpreter that has onnxruntime-gpu,
onnx, torch and sentence-transformers, and flash-attn where it can be had. One that fails is reported and left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkpoints import write_bge_small
from benchmarks.cuda.contenders import CONTENDERS
from benchmarks.speed.environments import ROOT
from embedge.engine.cpus import cpu_name
from embedge_export import export

_OUT = ROOT / "benchmarks" / "results" / "cuda.json"
_LAYERS, _HIDDEN, _INNER = 12, 384, 1536
_TIMEOUT_S = 1800


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--texts", type=int, default=8192, metavar="N", help="texts of 16 tokens; of longer ones fewer")
    parser.add_argument("--python", default=sys.executable, metavar="FILE")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": {"cpu": cpu_name()}, "unavailable": {}}
    with tempfile.TemporaryDirectory() as place:
        models = Path(place)
        write_bge_small(models / "checkpoint")
        export(models / "checkpoint", models / "bundle", precision=["fp16"])
        measured = {}
        for name in ("peak", *CONTENDERS):
            found = _run(name, models, options)
            if isinstance(found, str):
                results["unavailable"][name] = found
                print(f"{name}: {found}", file=sys.stderr)
            else:
                measured[name] = found
    results["peak"] = measured.pop("peak", None)
    ours = np.array(measured["embedge_fp16"]["vectors"]) if "embedge_fp16" in measured else None
    for name, figures in measured.items():
        vectors = np.array(figures.pop("vectors"))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # float16 ones are not quite of length 1
        figures["least_cosine_to_embedge"] = None if ours is None else float((vectors * ours).sum(axis=1).min())
        if results["peak"]:
            figures["share_of_peak"] = {
                tokens: rate * _flops_per_token(int(tokens)) / results["peak"]["flops"]
                for tokens, rate in figures["tokens_per_s"].items()
            }
        print(name, json.dumps({key: value for key, value in figures.items() if key != "versions"}))
    results["contenders"] = measured
    if options.device == "cuda" and measured:
        _OUT.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written to {_OUT.relative_to(ROOT)}")
    return 0 if "embedge_fp16" in measured else 1


def _run(name: str, models: Path, options: argparse.Namespace) -> dict[str, Any] | str:
    """What the worker measured, or why it failed."""
    command = [options.python, "-m", "benchmarks.cuda.worker", name, str(models), options.device, str(options.texts)]
    sources = os.pathsep.join(str(ROOT / part) for part in (".", "runtime"))
    environment = {**os.environ, "PYTHONPATH": sources, "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"took more than {_TIMEOUT_S} s"
    if done.returncode:
        return " / ".join(done.stderr.strip().splitlines()[-2:])[-400:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _flops_per_token(tokens: int) -> int:
    """Multiplications and additions of bge-small's shape; the last layer's shortcut for CLS is not subtracted."""
    return 2 * _LAYERS * (4 * _HIDDEN * _HIDDEN + 2 * _HIDDEN * _INNER + 2 * _HIDDEN * tokens)


if __name__ == "__main__":
    sys.exit(main())
