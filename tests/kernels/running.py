"""Starts what is tested: bundles by the kernels' graph, and graphs that were just written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedge import Bundle, Embedder
from embedge.engine.choose import Choice
from embedge.engine.native import kernels, register
from embedge.engine.ort import CPU, onnxruntime
from embedge.engine.packed import PACKED
from embedge.engine.weights import Unsigned
from embedge_export.graph import kernels as graph
from embedge_export.graph.builder import save
from embedge_export.network import HandWritten

GRAPH = "model.int8-kernels.onnx"


def start(bundle: Path, *, threads: int = 1, needs_kernels: bool = True) -> Embedder:
    """int8 by its graph for the kernels, or by the first of ONNX Runtime's that every CPU runs right."""
    opened = Bundle.open(bundle)
    (found,) = [
        found
        for found in opened.manifest.variants["int8"].graphs
        if found.needs == (("kernels",) if needs_kernels else ())
    ]
    return Embedder.start(opened, Choice("int8", found), threads=threads)


def tiny_texts(count: int = 9) -> list[list[int]]:
    """Token ids of texts of 1 to 60 tokens."""
    random = np.random.default_rng(0)
    lengths = [1, 2, 60, *random.integers(1, 40, count - 3).tolist()]
    return [random.integers(5, 1000, length).tolist() for length in lengths]


class Written:
    """The two graphs of an int8 network that every CPU runs right, written and loaded."""

    def __init__(self, network: HandWritten, directory: Path) -> None:
        stock, packed = directory / "stock.onnx", directory / "kernels.onnx"
        self.weights = directory / "weights.bin"
        graphs = {stock: network.author(unsigned=True), packed: graph.author(network.encoder, network.head)}
        self._unsigned = Unsigned(self.weights, save(graphs, self.weights))
        self._stock = _session(stock, self._unsigned)
        self._kernels = _session(packed, None)

    def by_stock(self, texts: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """The vectors, one text after the other."""
        return np.concatenate([self._stock.run(None, {"input_ids": np.array([ids], np.int64)})[0] for ids in texts])

    def by_kernels(self, texts: Sequence[Sequence[int]], *, spread: int = 1) -> npt.NDArray[np.float32]:
        """The vectors, in one run."""
        found: npt.NDArray[np.float32] = self._kernels.run(None, PACKED.inputs(texts, spread=spread))[0]
        return found


def _session(path: Path, unsigned: Unsigned | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if unsigned:
        for name, value in unsigned.values.items():
            options.add_initializer(name, value)
    else:
        library = kernels().library
        assert library
        register(options, library)
    return onnxruntime.InferenceSession(str(path), options, providers=[CPU])


def cosines(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Row by row."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    found: npt.NDArray[np.float64] = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found
