"""Run by the interpreter of each CPU: what the probe says there, which variants run, and their vectors.

``child.py BUNDLE TEXTS OUT``: TEXTS is a JSON list; OUT receives ``report.json`` and an ``.npy`` for each variant that
is not refused. It needs no more than `embedge` and what that imports.
"""

import ctypes
import importlib
import importlib.metadata
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

from embedge import Bundle, Embedder, ProviderError, fingerprint
from embedge.engine import choose as variants

# Those that decide which kernels ONNX Runtime takes, by numpy's names.
_FEATURES = ("AVX2", "FMA3", "AVX512F", "AVX512VNNI", "ASIMD", "ASIMDDP", "SVE")
_AT_HWCAP2 = 26
_HWCAP2_I8MM = 1 << 13


def main(bundle: Path, texts: list[str], out: Path) -> None:
    """Write what this CPU makes of ``bundle``."""
    with Embedder.load(bundle, threads=1) as model:
        chosen = model.variant
    ran: dict[str, dict[str, float]] = {}
    for name in Bundle.open(bundle).manifest.variants:
        start = time.process_time()
        try:
            model = Embedder.load(bundle, variant=name, threads=1)
        except ProviderError:
            continue
        with model:
            np.save(out / f"{name}.npy", model.embed(texts))
            cosine = fingerprint.cosine(model)
        ran[name] = {"fingerprint": cosine, "seconds": round(time.process_time() - start, 1)}
    report = {
        "features": features(),
        "versions": {
            "Python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": importlib.metadata.version("onnxruntime"),
        },
        "int8_is_exact": variants.int8_is_exact(),
        "chosen": chosen,
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
