"""Run by the interpreter of each CPU: what the probe says there, and the vectors of each variant.

``child.py BUNDLE TEXTS OUT``: TEXTS is a JSON list; OUT receives ``report.json`` and an ``.npy`` for each variant. It
needs no more than `embedge` and what that imports.
"""

import ctypes
import hashlib
import importlib
import importlib.metadata
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

from embedge import Bundle, fingerprint
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import Choice

# Those that decide which kernels ONNX Runtime takes, by numpy's names.
_FEATURES = ("AVX2", "FMA3", "AVX512F", "AVX512VNNI", "ASIMD", "ASIMDDP", "SVE")
_AT_HWCAP2 = 26
_HWCAP2_I8MM = 1 << 13


def main(path: Path, texts: list[str], out: Path) -> None:
    """Write what this CPU makes of the bundle at ``path``: by each variant's first graph, and whether others agree."""
    bundle = Bundle.open(path)
    ran: dict[str, dict[str, object]] = {}
    for name, variant in bundle.manifest.variants.items():
        began = time.process_time()
        # ONNX Runtime's; those for embedge-kernels give other bits, and are tested under emulation by themselves.
        stock = capabilities()._replace(kernels=False)
        graphs = [graph for graph in variant.graphs if not stock.lacks(graph.needs)]
        found = []
        for graph in graphs:
            with Embedder.start(bundle, Choice(name, graph), threads=1) as model:
                found.append(model.embed(texts))
                cosine = fingerprint.cosine(model)
        np.save(out / f"{name}.npy", found[0])
        ran[name] = {
            "graphs": [graph.file for graph in graphs],
            "graphs_agree": all(vectors.tobytes() == found[0].tobytes() for vectors in found),
            "sha256": hashlib.sha256(found[0].tobytes()).hexdigest(),
            "fingerprint": cosine,
            "seconds": round(time.process_time() - began, 1),
        }
    report = {
        "features": features(),
        "versions": {
            "Python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": importlib.metadata.version("onnxruntime"),
        },
        "exact_u8s8": capabilities().exact_u8s8,
        "ran": ran,
    }
    (out / "report.json").write_text(json.dumps(report))


def features() -> list[str]:
    """What the CPU can do, by its own word: under emulation /proc/cpuinfo may be another machine's."""
    # Not public; what is, prints.
    known = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    found = [name for name in _FEATURES if known.get(name)]
    if platform.machine() == "aarch64":
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype = ctypes.c_ulong
        found += ["I8MM"] if getauxval(_AT_HWCAP2) & _HWCAP2_I8MM else []
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), Path(sys.argv[3]))
