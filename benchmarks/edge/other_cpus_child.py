"""Run by the interpreter of each CPU: whether files give the bits of a bundle's graph for this CPU.

``other_cpus_child.py BUNDLE TEXTS OUT FILE...``: TEXTS is a JSON list; OUT receives a truth for each file's suffix.
"""

import json
import sys
from pathlib import Path

import numpy as np

from embedge import Bundle
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.engine.ort import CPU, onnxruntime


def main(bundle: Path, texts: list[str], out: Path, files: list[Path]) -> None:
    """Compare, and write."""
    opened = Bundle.open(bundle)
    stock = capabilities()._replace(kernels=False)
    with Embedder.start(opened, choose(opened.manifest.variants, "int8", CPU, stock), threads=1) as model:
        expected = model.embed(texts)
    inputs = {"texts": np.array(texts, object), "is_query": np.array([False])}
    same = {}
    for file in files:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), options, providers=[CPU])
        same[file.suffix] = bool(np.array_equal(session.run(["vectors"], inputs)[0], expected))
    out.write_text(json.dumps(same))


if __name__ == "__main__":
    given, listed, result, *models = map(Path, sys.argv[1:])
    main(given, json.loads(listed.read_text(encoding="utf-8")), result, models)
