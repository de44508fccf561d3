"""The start of a function by step, on the clock of a process that sees what the function sees."""

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

_ROUNDS = 15

# What the handler does, with the clock read after each step. The first is the start of the process.
_STEPS = """\
import sys, time
marks = [("start Python", time.monotonic())]
def done(step): marks.append((step, time.monotonic()))
sys.path[:0] = sys.argv[1:3]
import awslambdaric.bootstrap, awslambdaric.lambda_runtime_client
done("import AWS's client")
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
done("import numpy")
from embedge.engine.ort import CPU, onnxruntime
done("import onnxruntime")
import tokenizers
done("import tokenizers")
import embedge.serverless
from embedge import engine
from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.tokenizer import Tokenizer
done("import embedge")
bundle = Bundle.open(sys.argv[1] + "/bundle")
done("open the bundle, check its seal")
choice = choose(bundle.manifest.variants, "auto", CPU, capabilities())
done("probe the CPU")
manifest = bundle.manifest
tokenizer = Tokenizer(bundle.file("tokenizer.json"), manifest.max_tokens, manifest.tokenizer, parallel=False)
done("read tokenizer.json")
parts = engine.load(bundle, choice, threads=1, providers=[CPU])
done("make the session")
handler = embedge.serverless.Handler(Embedder(bundle, choice, tokenizer, parts, 1, (1, [CPU], False)))
handler({"input": "What runs at the edge?"}, None)
done("first event")
import json
print(json.dumps(marks))
"""
_HASHING = """\
import hashlib, pathlib, sys, time
began = time.perf_counter()
for path in pathlib.Path(sys.argv[1]).iterdir():
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")
print(time.perf_counter() - began)
"""
# Bit 29 of the second word of OpenSSL's view of an x86-64 CPU: SHA instructions.
_NO_SHA = {"OPENSSL_ia32cap": ":~0x20000000"}


def measure_steps(function: Path, client: Path, python: str, cpus: set[int]) -> dict[str, float]:
    """Median milliseconds of each step."""
    rounds: list[dict[str, float]] = []
    for _ in range(_ROUNDS):
        last = time.monotonic()
        steps = {}
        for name, at in json.loads(_run(_STEPS, [function, client], python, cpus)):
            steps[name] = 1e3 * (at - last)
            last = at
        rounds.append(steps)
    return {name: round(statistics.median(one[name] for one in rounds), 1) for name in rounds[0]}


def measure_hashing(bundle: Path, python: str, cpus: set[int]) -> dict[str, float]:
    """Median milliseconds that hashing the bundle would take."""
    ways = {"with SHA instructions": {}, "without": _NO_SHA}
    rounds = [
        {name: 1e3 * float(_run(_HASHING, [bundle], python, cpus, more)) for name, more in ways.items()}
        for _ in range(_ROUNDS)
    ]
    return {name: round(statistics.median(one[name] for one in rounds), 1) for name in ways}


def _run(
    code: str, arguments: list[Path], python: str, cpus: set[int], environment: dict[str, str] | None = None
) -> str:
    on = ["taskset", "-c", ",".join(map(str, sorted(cpus)))]
    command = [*on, python, "-I", "-S", "-B", "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": os.defpath, **(environment or {})}
    )
    return done.stdout
