"""A contender's worker: started, timed to its first vector, waited for."""

import ast
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import Knobs
from benchmarks.speed.environments import Unavailable, python_of

CONTENDERS = Path(__file__).parent / "contenders"
_TIMEOUT_S = 900
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def contender_names(folder: str = "") -> list[str]:
    """Those that lie in :data:`CONTENDERS`, or in a folder of it: ``rerankers.NAME``."""
    found = [path for path in (CONTENDERS / folder).glob("*.py") if "LABEL =" in path.read_text()]
    return sorted(".".join(path.relative_to(CONTENDERS).with_suffix("").parts) for path in found)


def constants_of(name: str) -> dict[str, Any]:
    """A contender's constants, read without importing what it imports."""
    tree = ast.parse((CONTENDERS / f"{name.replace('.', '/')}.py").read_text())
    constants = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            constants[target.id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return constants


def run_worker(
    name: str, constants: dict[str, Any], models: Path, threads: int, task: str, knobs: Knobs
) -> dict[str, Any]:
    """What the worker measured, and the seconds from its start to its first vector.

    Raises:
        Unavailable: it failed or did not end.
    """
    worker = Path(__file__).parent / "worker.py"
    count = {variable: str(threads) for variable in _THREADS}
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "PYTHONWARNINGS": "ignore"}
    command = [str(python_of(constants["ENVIRONMENT"])), str(worker), name, str(models), str(threads), task]
    command.append(json.dumps({key: value for key, value in knobs._asdict().items() if value}))
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **count, **quiet}
        )
        late = threading.Timer(_TIMEOUT_S, process.kill)
        late.start()
        try:
            assert process.stdout
            # Lines of others' progress bars may come first.
            for line in iter(process.stdout.readline, ""):
                if line == "first vector\n":
                    break
            cold_start = time.perf_counter() - begun
            out = process.stdout.read()
            process.wait()
        finally:
            late.cancel()
            process.kill()
            process.wait()
        if process.returncode:
            errors.seek(0)
            reason = " / ".join(errors.read().strip().splitlines()[-3:])[-400:]
            raise Unavailable(reason or f"ended by signal {-process.returncode}, {_TIMEOUT_S} s at the latest")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return {**result, "cold_start_s": cold_start}
