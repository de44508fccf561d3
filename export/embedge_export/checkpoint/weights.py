"""``config.json`` and ``model.safetensors`` become an :class:`Encoder`, checked tensor by tensor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from embedge.errors import CheckpointError
from embedge_export.checkpoint import config as families
from embedge_export.encoder import Encoder, FloatArray, Layer, LayerNorm, Linear

WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
# Parts of a checkpoint that no embedding needs: the pooler, the pre-training heads and a buffer of old versions.
_UNUSED = ("pooler.", "cls.", "lm_head.", "vocab_", "embeddings.position_ids")


def load_encoder(directory: Path, config: Mapping[str, Any]) -> Encoder:
    """Read the weights in ``directory`` as ``config``, that of a BERT or of a relative, describes them.

    Raises:
        CheckpointError: fields that make no sense, or tensors that are missing, misshapen, unknown or not finite.
    """
    pad = families.counted_from(config)
    config = families.bert_config(config)
    _check_config(config, directory)
    epsilon = config.get("layer_norm_eps", 1e-12)
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise CheckpointError(f"config.json: layer_norm_eps is {epsilon!r}, not a small positive number")
    tensors = _Tensors(read_tensors(directory), directory)
    hidden, inner = families.size(config, "hidden_size"), families.size(config, "intermediate_size")
    norm = tensors.norm("embeddings.LayerNorm", hidden)
    words = tensors.take("embeddings.word_embeddings.weight", (families.size(config, "vocab_size"), hidden))
    positions = tensors.take(
        "embeddings.position_embeddings.weight", (families.size(config, "max_position_embeddings"), hidden)
    )
    if config.get("model_type") != "distilbert":
        kinds = families.size(config, "type_vocab_size")
        positions = positions + tensors.take("embeddings.token_type_embeddings.weight", (kinds, hidden))[0]
    layers = []
    for number in range(families.size(config, "num_hidden_layers")):
        prefix = f"encoder.layer.{number}."
        q, k, v = (
            tensors.linear(f"{prefix}attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")
        )
        layers.append(
            Layer(
                qkv=Linear(
                    np.concatenate([q.weight, k.weight, v.weight], axis=1), np.concatenate([q.bias, k.bias, v.bias])
                ),
                attention_output=tensors.linear(f"{prefix}attention.output.dense", hidden, hidden),
                attention_norm=tensors.norm(f"{prefix}attention.output.LayerNorm", hidden),
                intermediate=tensors.linear(f"{prefix}intermediate.dense", hidden, inner),
                output=tensors.linear(f"{prefix}output.dense", inner, hidden),
                output_norm=tensors.norm(f"{prefix}output.LayerNorm", hidden),
            )
        )
    tensors.check_all_taken()
    return Encoder(
        words=words,
        positions=positions if pad is None else positions[pad:],
        pad_id=pad,
        norm=norm,
        layers=tuple(layers),
        heads=families.size(config, "num_attention_heads"),
        activation=families.ACTIVATIONS[config.get("hidden_act", "gelu")],
        epsilon=epsilon,
    )


def _check_config(config: Mapping[str, Any], directory: Path) -> None:
    where = directory / "config.json"
    hidden, heads = families.size(config, "hidden_size"), families.size(config, "num_attention_heads")
    if hidden % heads:
        raise CheckpointError(f"{where}: hidden_size {hidden} can't be divided among {heads} heads")


def read_tensors(directory: Path) -> dict[str, FloatArray]:
    """Every tensor of the checkpoint as float32, under BERT's own names."""
    # The whole file wins over shards, as in transformers; its hash is the one that a bundle names.
    if not (directory / WEIGHTS).is_file() and (directory / _INDEX).is_file():
        try:
            index = json.loads((directory / _INDEX).read_bytes())["weight_map"]
            files = sorted({str(name) for name in index.values()})
        except (ValueError, KeyError, AttributeError, OSError) as exc:
            raise CheckpointError(f"{directory / _INDEX} is no index of safetensors files") from exc
        if any(Path(name).name != name for name in files):
            raise CheckpointError(f"{directory / _INDEX} names a file outside {directory}")
    else:
        files = [WEIGHTS]
    tensors: dict[str, FloatArray] = {}
    for name in files:
        path = directory / name
        if not path.is_file():
            raise CheckpointError(
                f"{directory} has no {name}; where it has a pytorch_model.bin, save it with transformers' "
                "save_pretrained(..., safe_serialization=True)"
            )
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    tensor = families.bert_tensor(key)
                    if tensor in tensors:
                        raise CheckpointError(f"{path} has tensor {tensor} twice; the checkpoint is damaged")
                    tensors[tensor] = np.asarray(file.get_tensor(key), np.float32)
        except (SafetensorError, OSError, TypeError, ValueError) as exc:
            raise CheckpointError(f"{path} can't be read as safetensors: {exc}") from exc
    return tensors


class _Tensors:
    """Tensors by name, each taken once, checked for shape and for numbers that are none."""

    def __init__(self, tensors: dict[str, FloatArray], directory: Path) -> None:
        self._left = tensors
        self._where = directory

    def take(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        tensor = self._left.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{self._where}: the weights have no tensor {name}, which config.json calls for")
        if tensor.shape != shape:
            raise CheckpointError(f"{self._where}: tensor {name} has shape {tensor.shape}, config.json says {shape}")
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{self._where}: tensor {name} holds NaN or infinity; the checkpoint is damaged")
        return tensor

    def linear(self, name: str, inputs: int, outputs: int) -> Linear:
        weight = self.take(f"{name}.weight", (outputs, inputs))
        return Linear(np.ascontiguousarray(weight.T), self.take(f"{name}.bias", (outputs,)))

    def norm(self, name: str, width: int) -> LayerNorm:
        return LayerNorm(self.take(f"{name}.weight", (width,)), self.take(f"{name}.bias", (width,)))

    def check_all_taken(self) -> None:
        unknown = sorted(name for name in self._left if not name.startswith(_UNUSED))
        if unknown:
            raise CheckpointError(
                f"{self._where}: the weights have {len(unknown)} tensors that config.json does not call for, the first "
                f"is {unknown[0]}; the vectors would not be this model's"
            )
