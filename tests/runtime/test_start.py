"""What a start loads, and what an import costs beside another one of the same run."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = ("numpy", "onnxruntime", "tokenizers", "huggingface_hub")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keeps compiled modules, as an installed package does, but not in the source tree."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("pycache"))}


def run(code: str, environment: dict[str, str]) -> tuple[float, bytes]:
    """Seconds from the start of a process until it prints (or ends), and what it printed."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        told = process.stdout.read1()  # type: ignore[attr-defined]
        seconds = time.perf_counter() - start
    assert process.returncode == 0
    return seconds, told


def medians(times: int, runs: list[Callable[[], float]]) -> list[float]:
    """Median seconds of each of ``runs``, which take turns so that all meet the same load of the machine."""
    for once in runs:
        once()  # fills the caches
    measured = [[once() for once in runs] for _ in range(times)]
    return [statistics.median(column) for column in zip(*measured, strict=True)]


def test_importing_embedge_loads_no_heavy_package() -> None:
    code = f"import sys, embedge; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_and_the_error_classes_load_no_heavy_package() -> None:
    code = f"""
import sys, embedge.cli, embedge.errors
assert embedge.cli.main(["embed", "--help"]) == 0
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_embedding_loads_no_huggingface_hub(bundle: Path) -> None:
    code = f"import sys, embedge; embedge.Embedder.load({str(bundle)!r}); print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_embedge_costs_less_than_importing_unittest(environment: dict[str, str]) -> None:
    # Over an empty interpreter; unittest costs 2.5 times as much where this was written, numpy 6 times.
    empty, ours, reference = medians(
        15,
        [lambda code=code: run(code, environment)[0] for code in ("pass", "import embedge", "import unittest")],  # type: ignore[misc]
    )
    print(f"import embedge {1e3 * (ours - empty):.1f} ms, unittest {1e3 * (reference - empty):.1f} ms")
    assert ours - empty < reference - empty
