"""The head of a reranker: from the first token's vector to one score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embedge.errors import CheckpointError
from embedge_export.checkpoint.dense import torch_class
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.prompts import SETTINGS
from embedge_export.checkpoint.weights import read_tensors
from embedge_export.encoder import Dense, DenseActivation, Linear

# Two linear layers each, by their names in the checkpoint, and the activation between them.
_LAYERS: dict[str, tuple[str, DenseActivation, str]] = {
    "bert": ("pooler.dense", "tanh", "classifier"),
    "camembert": ("classifier.dense", "tanh", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "relu", "classifier"),
    "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
    "xlm-roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
}
_ACTIVATIONS: dict[str, DenseActivation] = {"Identity": "identity", "Sigmoid": "sigmoid"}


def read_scorer(root: Path, encoder: Path, config: Mapping[str, Any], hidden: int) -> tuple[Dense, ...]:
    """The layers after the encoder, for vectors of ``hidden`` numbers; the last one gives the score.

    Scores go through the function that sentence-transformers' CrossEncoder applies: the one that the checkpoint names,
    else a sigmoid.

    Raises:
        CheckpointError: another model type, more than one score, or weights that are not there.
    """
    where, kind = encoder / "config.json", str(config.get("model_type"))
    if kind not in _LAYERS:
        raise CheckpointError(f"{where}: rerankers of model_type {kind!r} are not supported; {', '.join(_LAYERS)} are")
    labels = config.get("num_labels", len(config.get("id2label") or ("LABEL_0", "LABEL_1")))
    if labels != 1:
        raise CheckpointError(f"{where}: the model gives {labels} scores, so it is a classifier; a reranker gives one")
    first, activation, last = _LAYERS[kind]
    tensors = read_tensors(encoder)
    layers = []
    for name, outputs, function in ((first, hidden, activation), (last, 1, _activation(root, config))):
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        if weight is None or bias is None or weight.shape != (outputs, hidden) or bias.shape != (outputs,):
            raise CheckpointError(f"{encoder}: the weights have no layer {name} of {outputs} x {hidden} with its bias")
        matrix, shift = weight.read(), bias.read()
        if not (np.isfinite(matrix).all() and np.isfinite(shift).all()):
            raise CheckpointError(f"{encoder}: layer {name} holds NaN or infinity; the checkpoint is damaged")
        layers.append(Dense(Linear(np.ascontiguousarray(matrix.T), shift), function))
    return tuple(layers)


def _activation(root: Path, config: Mapping[str, Any]) -> DenseActivation:
    newer = read_object(root / SETTINGS, optional=True).get("activation_fn")
    settings = config.get("sentence_transformers")
    told = newer or (settings.get("activation_fn") if isinstance(settings, dict) else None)
    told = told or config.get("sbert_ce_default_activation_function")
    if told is None:
        return "sigmoid"
    name = torch_class(told)
    if name not in _ACTIVATIONS:
        raise CheckpointError(f"{root}: activation_fn {told!r} is none of {', '.join(_ACTIVATIONS)} of torch.nn")
    return _ACTIVATIONS[name]
