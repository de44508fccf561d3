"""Run by the interpreter of each CPU: the vectors of bundles by their graphs for ``embedge-kernels``, as hashes.

``kernels_child.py TEXTS OUT BUNDLE...``: TEXTS is a JSON list; OUT is the file that receives what came of it.
"""

import ctypes
import hashlib
import json
import sys
import time
from pathlib import Path

from embedge import Bundle
from embedge.embedder import Embedder
from embedge.engine.choose import Choice
from embedge.engine.native import kernels


def main(texts: list[str], out: Path, bundles: list[Path]) -> None:
    """Write what this CPU makes of the bundles."""
    found = kernels()
    if found.library is None:
        sys.exit(f"no kernels: {found.description}")
    isa = ctypes.CDLL(found.library).embedge_isa
    isa.restype = ctypes.c_char_p
    began = time.process_time()
    report = {"isa": isa().decode(), "sha256": {path.name: sha256(path, texts) for path in bundles}}
    out.write_text(json.dumps(report | {"seconds": round(time.process_time() - began, 1)}))


def sha256(path: Path, texts: list[str]) -> str:
    """Of the vectors' bytes."""
    bundle = Bundle.open(path)
    (graph,) = [graph for graph in bundle.manifest.variants["int8"].graphs if "kernels" in graph.needs]
    with Embedder.start(bundle, Choice("int8", graph), threads=1) as model:
        return hashlib.sha256(model.embed(texts).tobytes()).hexdigest()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]), [*map(Path, sys.argv[3:])])
