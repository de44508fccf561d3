"""What an export would make of a checkpoint, found out without making it."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from embedge_export import checkpoint as checkpoints
from embedge_export.checkpoint import Checkpoint
from embedge_export.checkpoint import config as families
from embedge_export.checkpoint.weights import read_tensors, weights_files
from embedge_export.encoder import Dense, Linear, Pooling

# A scale and a bias of float32 for each output; LayerNorms, positions and the smoothing's factors come to less.
_BYTES_PER_OUTPUT = 8
_GRAPHS = 300_000


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint is, and what its bundle would be. Sizes are in bytes."""

    model: str
    revision: str | None
    license: str | None
    task: str
    """``"embed"`` or ``"rerank"``."""
    architecture: str
    route: str
    """``"hand-written graph"``, or that it has to be traced, and why."""
    pooling: str
    head: tuple[str, ...]
    """What follows the pooling: Dense modules, with their outputs, and LayerNorms."""
    normalized: bool
    similarity: str
    dimensions: int
    max_tokens: int
    prompts: dict[str, str]
    default_prompt: str | None
    prompts_from: dict[str, str]
    """For ``query`` and ``document``: who says so."""
    notes: tuple[str, ...]
    """What else to know of how it was read."""
    tokenizer: str
    vocabulary: int
    dtypes: tuple[str, ...]
    weights: int
    bundle: int | None
    """What the bundle of int8 would have, about; ``None`` for a model that has to be traced."""

    def to_fields(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)


def inspect(
    source: str | os.PathLike[str],
    *,
    max_tokens: int | None = None,
    pooling: Pooling | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> Inspection:
    """What :func:`embedge_export.export` would make of ``source``; the options and the errors are the same.

    The file of weights is hashed, but no weights are used save those of Dense modules. A hub id is
    fetched as the export would fetch it.
    """
    checkpoint = checkpoints.load(
        os.fspath(source),
        max_tokens=max_tokens,
        pooling=pooling,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
    )
    return describe(checkpoint)


def describe(checkpoint: Checkpoint) -> Inspection:
    """An :class:`Inspection` of a checkpoint that was loaded."""
    config, head = checkpoint.config, checkpoint.head
    fields = families.bert_config(config)
    hidden, layers = families.hidden_size(config), fields.get("num_hidden_layers")
    reason = families.not_written(config)
    tensors = read_tensors(checkpoint.directory)
    return Inspection(
        model=checkpoint.source.id,
        revision=checkpoint.source.revision,
        license=checkpoint.source.license,
        task=checkpoint.task,
        architecture=f"{config.get('model_type')}, {layers} layers, hidden size {hidden}",
        route=f"traced, since {reason}" if reason else "hand-written graph",
        pooling="+".join(head.pooling),
        head=tuple(f"Dense, width {each.outputs}" if isinstance(each, Dense) else "LayerNorm" for each in head.layers),
        normalized=head.unit_length,
        similarity=checkpoint.similarity,
        dimensions=head.width(hidden),
        max_tokens=checkpoint.max_tokens,
        prompts=checkpoint.prompts.texts,
        default_prompt=checkpoint.prompts.default,
        prompts_from=checkpoint.prompts.origins,
        notes=checkpoint.notes,
        tokenizer=_tokenizer(checkpoint),
        vocabulary=checkpoint.vocabulary_size,
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors.values() if "float" in tensor.dtype})),
        weights=sum(path.stat().st_size for path in weights_files(checkpoint.directory)),
        bundle=None if reason else _bundle_bytes(checkpoint, fields, hidden),
    )


def _tokenizer(checkpoint: Checkpoint) -> str:
    model = json.loads(checkpoint.tokenizer).get("model") or {}
    return str(model.get("type"))


def _bundle_bytes(checkpoint: Checkpoint, fields: dict[str, Any], hidden: int) -> int:
    inner, vocabulary = families.size(fields, "intermediate_size"), checkpoint.vocabulary_size
    matrices = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
    layers = families.size(fields, "num_hidden_layers")
    heads = [dense.linear.weight.shape for dense in checkpoint.head.dense if isinstance(dense.linear, Linear)]
    codes = layers * sum(map(_matrix_bytes, matrices)) + sum(map(_matrix_bytes, heads))
    words = vocabulary * (hidden + 4)
    positions = families.size(fields, "max_position_embeddings") * hidden * 4
    return codes + words + positions + len(checkpoint.tokenizer.encode()) + _GRAPHS


def _matrix_bytes(shape: tuple[int, ...]) -> int:
    inputs, outputs = shape
    return inputs * outputs + outputs * _BYTES_PER_OUTPUT
