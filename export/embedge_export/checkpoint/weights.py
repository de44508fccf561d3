"""``config.json`` and the files of weights become an :class:`Encoder`, checked tensor by tensor."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedge.errors import CheckpointError
from embedge_export.checkpoint import config as families
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.pickled import read_pickled
from embedge_export.checkpoint.stored import StoredTensor, read_safetensors
from embedge_export.encoder import Encoder, FloatArray, Layer, LayerNorm, Linear

WEIGHTS = "model.safetensors"
# In the order in which transformers takes them.
_WHOLE_OR_SHARDS = (WEIGHTS, f"{WEIGHTS}.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def weights_files(directory: Path) -> list[Path]:
    """The files that hold the weights: the one that transformers would read, or its shards.

    Raises:
        CheckpointError: there are none, some are missing, or an index makes no sense.
    """
    first = next((directory / name for name in _WHOLE_OR_SHARDS if (directory / name).is_file()), None)
    if first is None:
        raise CheckpointError(
            f"{directory} has no {WEIGHTS} and no pytorch_model.bin; where it has weights in another format, save them "
            "with transformers' save_pretrained"
        )
    if first.suffix != ".json":
        return [first]
    shards = read_object(first).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise CheckpointError(f"{first} does not say which file holds which tensor; fetch it again")
    names = sorted(set(shards.values()))
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{first} names a file outside {directory}: {name!a}")
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory} has no {name}, which {first.name} names; fetch it again")
    return [directory / name for name in names]


def read_tensors(directory: Path) -> dict[str, StoredTensor]:
    """Every tensor in ``directory`` under BERT's own name; no numbers are read.

    Raises:
        CheckpointError: as :func:`weights_files`, or a file is damaged or is something else.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in weights_files(directory):
        read = read_pickled if path.suffix == ".bin" else read_safetensors
        for name, tensor in read(path).items():
            own = families.bert_tensor(name)
            if own in tensors:
                raise CheckpointError(f"{path} has tensor {own} twice; the checkpoint is damaged")
            tensors[own] = tensor
    return tensors


def load_encoder(directory: Path, config: Mapping[str, Any], *, pairs: bool = False) -> Encoder:
    """Read the weights in ``directory`` as ``config``, that of a BERT or of a relative, describes them.

    For ``pairs`` the encoder knows which tokens are of the second text.

    Raises:
        CheckpointError: fields that make no sense, or tensors that are missing, misshapen, unknown or not finite.
    """
    pad = families.counted_from(config)
    config = families.bert_config(config)
    _check_config(config, directory)
    epsilon = config.get("layer_norm_eps", 1e-12)
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise CheckpointError(f"config.json: layer_norm_eps is {epsilon!r}, not a small positive number")
    stored = {name: tensor for name, tensor in read_tensors(directory).items() if not families.is_unused(name)}
    tensors, second = Tensors(stored, directory), None
    hidden, inner = families.size(config, "hidden_size"), families.size(config, "intermediate_size")
    norm = tensors.norm("embeddings.LayerNorm", hidden)
    words = tensors.take("embeddings.word_embeddings.weight", (families.size(config, "vocab_size"), hidden))
    positions = tensors.take(
        "embeddings.position_embeddings.weight", (families.size(config, "max_position_embeddings"), hidden)
    )
    if config.get("model_type") != "distilbert":
        kinds = families.size(config, "type_vocab_size")
        types = tensors.take("embeddings.token_type_embeddings.weight", (kinds, hidden))
        positions = positions + types[0]
        second = types[1] - types[0] if pairs and kinds > 1 else None
    layers = []
    for number in range(families.size(config, "num_hidden_layers")):
        prefix = f"encoder.layer.{number}."
        parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
        layers.append(
            Layer(
                qkv=tensors.linear(parts, hidden, hidden),
                attention_output=tensors.linear([f"{prefix}attention.output.dense"], hidden, hidden),
                attention_norm=tensors.norm(f"{prefix}attention.output.LayerNorm", hidden),
                intermediate=tensors.linear([f"{prefix}intermediate.dense"], hidden, inner),
                output=tensors.linear([f"{prefix}output.dense"], inner, hidden),
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
        second=second,
    )


def _check_config(config: Mapping[str, Any], directory: Path) -> None:
    where = directory / "config.json"
    hidden, heads = families.size(config, "hidden_size"), families.size(config, "num_attention_heads")
    if hidden % heads:
        raise CheckpointError(f"{where}: hidden_size {hidden} can't be divided among {heads} heads")


class Tensors:
    """Tensors by name, each read once, checked for shape before and for numbers that are none after."""

    def __init__(self, tensors: dict[str, StoredTensor], directory: Path) -> None:
        self._left = tensors
        self._where = directory

    def take(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Raises ``CheckpointError`` for one that is missing, misshapen or not finite, as the other methods do."""
        stored = self._left.pop(name, None)
        if stored is None:
            raise CheckpointError(f"{self._where}: the weights have no tensor {name}, which config.json calls for")
        if stored.shape != shape:
            raise CheckpointError(f"{self._where}: tensor {name} has shape {stored.shape}, config.json says {shape}")
        tensor = stored.read()
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{self._where}: tensor {name} holds NaN or infinity; the checkpoint is damaged")
        return tensor

    def linear(self, names: Sequence[str], inputs: int, outputs: int, *, bias: bool = True) -> Linear:
        """Layers with the same inputs as one. Shapes: ``(inputs, outputs of all)`` and ``(outputs of all,)``.

        Without ``bias`` it is zero.
        """
        weight = np.empty((inputs, len(names) * outputs), np.float32)
        np.concatenate([self.take(f"{name}.weight", (outputs, inputs)).T for name in names], axis=1, out=weight)
        return Linear(weight, np.concatenate([self._bias(name, outputs, bias) for name in names]))

    def norm(self, name: str, width: int, *, bias: bool = True) -> LayerNorm:
        """Without ``bias`` it is zero."""
        return LayerNorm(self.take(f"{name}.weight", (width,)), self._bias(name, width, bias))

    def _bias(self, name: str, width: int, bias: bool) -> FloatArray:
        return self.take(f"{name}.bias", (width,)) if bias else np.zeros(width, np.float32)

    def check_all_taken(self) -> None:
        """Raises ``CheckpointError`` for tensors that were not taken."""
        if self._left:
            raise CheckpointError(
                f"{self._where}: the weights have {len(self._left)} tensors that config.json does not call for, the "
                f"first is {min(self._left)}; the vectors would not be this model's"
            )
