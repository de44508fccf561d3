"""The variants of a bundle, and their files."""

from pathlib import Path

from embedge.errors import ExportError
from embedge.manifest import ANY_DEVICE, Graph, Variant
from embedge_export import quantize
from embedge_export.graph import cuda, kernels
from embedge_export.graph.builder import GraphBuilder, save
from embedge_export.network import HandWritten, Network

PRECISIONS = ("int8", "fp16", "fp32")
"""Names of the variants, in the order in which ``variant="auto"`` prefers them."""

_RECIPES = {"int8": quantize.RECIPE, "fp16": cuda.RECIPE, "fp32": "float32 as in the checkpoint"}
# int8's operators have CPU kernels only. The CPU runs fp16 too, slowly, which is how an export compares it.
_DEVICES = {"int8": ("cpu",), "fp16": ("cuda", "cpu"), "fp32": (ANY_DEVICE,)}


def write_variant(name: str, network: Network, directory: Path) -> Variant:
    """Write the files of variant ``name`` of ``network``, which for int8 is a quantized one."""
    weights = f"model.{name}.bin"
    if name == "int8":
        signed = Graph("model.int8.onnx", "ragged", needs=("exact_u8s8",), unsigned=False)
        unsigned = Graph("model.int8-unsigned.onnx", "ragged", needs=(), unsigned=True)
        graphs = {signed: network.author(), unsigned: network.author(unsigned=True)}
        if isinstance(network, HandWritten) and kernels.takes(network.encoder):
            packed = Graph("model.int8-kernels.onnx", "packed", needs=("kernels",), unsigned=False)
            graphs[packed] = kernels.author(network.encoder, network.head)
    elif name == "fp16":
        graphs = {Graph("model.fp16.onnx", "padded", needs=(), unsigned=False): _author_fp16(network)}
    else:
        graphs = {Graph("model.fp32.onnx", "ragged", needs=(), unsigned=False): network.author()}
    codes = save({directory / graph.file: authored for graph, authored in graphs.items()}, directory / weights)
    recipe = f"{_RECIPES[name]}; {network.origin}"
    # The kernels' is the fastest. It was written last, so that the others' constants lie where they do without it.
    order = sorted(graphs, key=lambda graph: "kernels" not in graph.needs)
    return Variant(tuple(order), weights, codes, devices=_DEVICES[name], recipe=recipe)


def _author_fp16(network: Network) -> GraphBuilder:
    if not isinstance(network, HandWritten):
        raise ExportError("fp16 is for hand-written graphs only")
    return cuda.author(network.encoder, network.head)
