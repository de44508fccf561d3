"""Any encoder that optimum exports: traced, fused, rewritten, and in int8 by the recipe of the hand-written graph.

Needs the extra ``embedge[optimum]``. Each matrix is calibrated on what the float network has before it; those of the
hand-written graph one after the other, on what the quantized ones before them give. For MiniLM that makes no
difference: traced and written by hand it has mean cosines to fp32 of 0.99948 and 0.99950 over the 86 texts that ship.
"""

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CONFIG_MAPPING, AutoModel

from embedge.errors import CheckpointError, ExportError
from embedge_export.checkpoint import Checkpoint
from embedge_export.encoder import CENTRE, FloatArray, Head, Linear, QuantizedLinear
from embedge_export.graph.builder import GraphBuilder, save
from embedge_export.quantize import ACTIVATION_ZERO_POINT, int8_head, quantize_matrix
from embedge_export.reference.equations import apply_head, pool
from embedge_export.reference.forward import Array
from embedge_export.reference.values import Values
from embedge_export.traced import rewrite
from embedge_export.traced.fusion import quiet, trace
from embedge_export.traced.rewrite import Product, TracedGraph

# Values that are kept of the calibration at a time: 0.4 GB of float32, those of two layers of a BERT-base.
_VALUES = 100_000_000
# The first of them that is not installed is a ModuleNotFoundError that names it.
_VERSIONS = ", ".join(f"{name} {version(name)}" for name in ("optimum-onnx", "transformers", "torch"))


@dataclass(frozen=True)
class Traced:
    """A traced graph, compared with the PyTorch model that it was traced from (see `.network.Network`)."""

    graph: TracedGraph
    torch_model: Any
    head: Head
    dimensions: int
    description: str
    quantized: Mapping[tuple[str, ...], QuantizedLinear] = field(default_factory=dict)
    origin: str = f"graph traced by {_VERSIONS}"
    reference: str = "transformers in PyTorch"

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "Traced":
        """Read the weights and trace.

        Raises:
            CheckpointError: transformers can't read it, without code from the checkpoint, or misses weights.
            ExportError: optimum can't export it, or fusions did not happen.
        """
        with quiet():
            model = _load(checkpoint)
            graph = rewrite.read(trace(model, checkpoint.config))
        hidden = int(model.config.hidden_size)
        head = checkpoint.head
        return cls(graph, model, head, head.width(hidden), f"{model.config.model_type}, hidden size {hidden}")

    def author(self, *, unsigned: bool = False) -> GraphBuilder:
        """See `Network`."""
        return rewrite.author(self.graph, self.dimensions, self.head, self.quantized, unsigned=unsigned)

    def quantize(
        self, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None] = lambda _: None
    ) -> "Traced":
        """See `Network`; raises ``ExportError`` where there is nothing to quantize."""
        if not self.graph.products:
            raise ExportError(f"a {self.description}, has no matrices for int8: pass precision='fp32' (--precision)")
        with tempfile.TemporaryDirectory(prefix="embedge-") as place:
            path = Path(place) / "model.onnx"
            save({path: replace(self, quantized={}).author()}, path.with_suffix(".bin"))
            quantized = dict(self._quantize(path, calibration, on_step))
            states = _values(path, [self.graph.output], calibration)[self.graph.output]
        ends = list(itertools.accumulate(len(ids) for ids in calibration))
        pooled = pool(self.head, np.split(states.astype(np.float64), ends[:-1]))
        return replace(self, quantized=quantized, head=int8_head(self.head, pooled, pooled))

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """See `Network`."""
        return apply_head(self.head, [self._states(ids) for ids in texts])

    def _states(self, ids: Sequence[int]) -> Array:
        """The last hidden state of a text. Shape: ``(tokens,)`` -> ``(tokens, hidden)``."""
        with torch.inference_mode(), quiet():
            tokens = torch.tensor([list(ids)])
            states = self.torch_model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0]
        last: Array = states.double().numpy()
        return last

    def _quantize(
        self, path: Path, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None]
    ) -> Iterator[tuple[tuple[str, ...], QuantizedLinear]]:
        """The matrices in int8, calibrated on values of the float graph at ``path``."""
        done, matrices = 0, len({product.weights for product in self.graph.products})
        for part in _parts(self.graph, sum(map(len, calibration))):
            on_step(f"quantizing matrices {done + 1} to {done + len(part)} of {matrices}")
            done += len(part)
            values = _values(path, [product.input for products in part for product in products], calibration)
            for products in part:
                weight = self.graph.weight(products[0])
                linear = Linear(weight, np.zeros(weight.shape[1], np.float32))
                zero_point = ACTIVATION_ZERO_POINT if products[0].one_sided else CENTRE
                x = np.concatenate([values.pop(product.input) for product in products])
                site, _ = quantize_matrix(linear, x, x, zero_point)
                yield products[0].weights, site.standalone


def _parts(graph: TracedGraph, tokens: int) -> Iterator[list[list[Product]]]:
    """Groups of products with the same weights, which are quantized as one; as many groups as fit in memory."""
    groups: dict[tuple[str, ...], list[Product]] = defaultdict(list)
    for product in graph.products:
        groups[product.weights].append(product)
    part: list[list[Product]] = []
    values = 0
    for weights, products in groups.items():
        needed = tokens * len(products) * len(graph.constants[weights[0]])
        if part and values + needed > _VALUES:
            yield part
            part, values = [], 0
        part.append(products)
        values += needed
    yield part


def _values(path: Path, names: Sequence[str], calibration: Sequence[Sequence[int]]) -> dict[str, FloatArray]:
    """What the graph has at ``names`` for all tokens of the texts. Shape of each: ``(tokens, channels)``."""
    values, found = Values(path, names), defaultdict(list)
    for ids in calibration:
        for name, value in zip(names, values(ids), strict=True):
            rows = value.reshape(-1, value.shape[-1])
            # DeBERTa's relative positions have rows of their own, as many for every text.
            found[name].append(rows[:: -(-len(rows) // len(ids))])
    return {name: np.concatenate(found.pop(name)) for name in names}  # which frees the parts one by one


def _load(checkpoint: Checkpoint) -> Any:
    directory, kind = checkpoint.directory, checkpoint.config.get("model_type")
    if not (isinstance(kind, str) and kind in CONFIG_MAPPING):
        raise CheckpointError(f"{directory / 'config.json'}: transformers does not know model_type {kind!r}")
    try:
        model, told = AutoModel.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as exc:
        raise CheckpointError(f"transformers can't read {directory}: {' '.join(str(exc).split())}") from exc
    if getattr(model.config, "attention_type", "original_full") != "original_full":
        # BigBird's code switches itself to full attention, for good, when it meets a short text.
        raise CheckpointError(
            f"{directory / 'config.json'}: block-sparse attention can't be traced: set attention_type 'original_full'"
        )
    state = model.state_dict()
    missing = [name for name in told["missing_keys"] if "pooler" not in name]
    if missing:
        raise CheckpointError(
            f"{directory}: the weights lack {len(missing)} tensors that config.json calls for, the first is "
            f"{missing[0]}; the vectors would be random"
        )
    # Heads are left out; what lies where the model has its own tensors is part of a larger model.
    parts, prefix = {name.partition(".")[0] for name in state}, f"{model.base_model_prefix}."
    surplus = [name for name in told["unexpected_keys"] if name.removeprefix(prefix).partition(".")[0] in parts]
    surplus = [name for name in surplus if not name.endswith("position_ids")]
    if surplus:
        raise CheckpointError(
            f"{directory}: the weights have {len(surplus)} tensors that config.json does not call for, the first is "
            f"{surplus[0]}; the vectors would not be this model's"
        )
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{directory}: tensor {name} holds NaN or infinity; the checkpoint is damaged")
    return model.eval().float()
