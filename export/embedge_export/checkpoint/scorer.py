"""The head of a reranker: from the tokens' vectors to one score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from embedge.errors import CheckpointError
from embedge_export.checkpoint.dense import torch_class
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.prompts import SETTINGS
from embedge_export.checkpoint.weights import Tensors, read_tensors
from embedge_export.encoder import Dense, DenseActivation, Head, HeadNorm, Pooling

_T = TypeVar("_T")

# Two linear layers on the first token's vector, by their names in the checkpoint, and the activation between them.
_LAYERS: dict[str, tuple[str, DenseActivation, str]] = {
    "bert": ("pooler.dense", "tanh", "classifier"),
    "camembert": ("classifier.dense", "tanh", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "relu", "classifier"),
    "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
    "xlm-roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
}
# What config.json of a ModernBERT calls the activation after its first linear layer, and how it pools.
_MODERN_ACTIVATIONS: dict[str, DenseActivation] = {"gelu": "gelu", "relu": "relu", "tanh": "tanh"}
_MODERN_POOLINGS: dict[str, Pooling] = {"cls": "cls", "mean": "mean"}
_ACTIVATIONS: dict[str, DenseActivation] = {"Identity": "identity", "Sigmoid": "sigmoid"}


def read_scorer(root: Path, encoder: Path, config: Mapping[str, Any], hidden: int) -> Head:
    """What follows the encoder, for token vectors of ``hidden`` numbers; its last layer gives the score.

    Scores go through the function that sentence-transformers' CrossEncoder applies: the one that the checkpoint names,
    else a sigmoid.

    Raises:
        CheckpointError: another model type, a setting that embedge does not have, more than one score, or weights that
            are not there.
    """
    where, kind = encoder / "config.json", str(config.get("model_type"))
    if kind not in (*_LAYERS, "modernbert"):
        supported = ", ".join([*_LAYERS, "modernbert"])
        raise CheckpointError(f"{where}: rerankers of model_type {kind!r} are not supported; {supported} are")
    labels = config.get("num_labels", len(config.get("id2label") or ("LABEL_0", "LABEL_1")))
    if labels != 1:
        raise CheckpointError(f"{where}: the model gives {labels} scores, so it is a classifier; a reranker gives one")
    score, tensors = _activation(root, config), Tensors(read_tensors(encoder), encoder)
    if kind == "modernbert":
        return _modern(tensors, where, config, hidden, score)
    first, activation, last = _LAYERS[kind]
    layers = (
        Dense(tensors.linear([first], hidden, hidden), activation),
        Dense(tensors.linear([last], hidden, 1), score),
    )
    return Head(("cls",), layers, normalize=False)


def _modern(tensors: Tensors, where: Path, config: Mapping[str, Any], hidden: int, score: DenseActivation) -> Head:
    """ModernBertForSequenceClassification's; fields that are not there have the defaults of transformers."""
    pooling = _choice(where, config, "classifier_pooling", "cls", _MODERN_POOLINGS)
    activation = _choice(where, config, "classifier_activation", "gelu", _MODERN_ACTIVATIONS)
    epsilon = config.get("norm_eps", 1e-5)
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise CheckpointError(f"{where}: norm_eps is {epsilon!r}, not a small positive number")
    layers = (
        Dense(tensors.linear(["head.dense"], hidden, hidden, bias=bool(config.get("classifier_bias"))), activation),
        HeadNorm(tensors.norm("head.norm", hidden, bias=bool(config.get("norm_bias"))), epsilon),
        Dense(tensors.linear(["classifier"], hidden, 1), score),
    )
    return Head((pooling,), layers, normalize=False)


def _choice(where: Path, config: Mapping[str, Any], name: str, default: str, choices: Mapping[str, _T]) -> _T:
    told = config.get(name, default)
    if not isinstance(told, str) or told not in choices:
        raise CheckpointError(f"{where}: {name} {told!r} is none of {', '.join(choices)}")
    return choices[told]


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
