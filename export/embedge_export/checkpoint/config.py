"""Model types beside BERT: what their ``config.json`` and their tensors would be called in a BERT, and what differs.

DistilBERT is a BERT with other names and without token types. RoBERTa and its relatives number the positions from one
past the padding token's id.
"""

import re
from collections.abc import Mapping
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.encoder import Activation

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""What ``config.json`` calls the activations that the hand-written graph has."""

_LARGEST_SIZE = 2**31
_BERTS = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")
# Of these the first position is number pad_token_id + 1, in transformers' create_position_ids_from_input_ids.
_COUNT_FROM_PAD = (
    *("camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm"),
    *("xlm-roberta", "xlm-roberta-xl", "xmod"),
)
_NO_TOKEN_TYPES = ("distilbert", "modernbert")
_DISTILBERT_CONFIG = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_layers": "num_hidden_layers",
    "activation": "hidden_act",
}
_DISTILBERT_TENSORS = {
    "transformer.layer.": "encoder.layer.",
    ".attention.q_lin.": ".attention.self.query.",
    ".attention.k_lin.": ".attention.self.key.",
    ".attention.v_lin.": ".attention.self.value.",
    ".attention.out_lin.": ".attention.output.dense.",
    ".sa_layer_norm.": ".attention.output.LayerNorm.",
    ".ffn.lin1.": ".intermediate.dense.",
    ".ffn.lin2.": ".output.dense.",
    ".output_layer_norm.": ".output.LayerNorm.",
}
# The oldest checkpoints have TensorFlow's names.
_OLD_TENSORS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# Of models with heads, of sentence-transformers' modules (0.auto_model.), of DataParallel, of torch.compile and of
# those who hold the encoder in a class of their own.
_PREFIXES = re.compile(r"((bert|distilbert|roberta|0|auto_model|module|_orig_mod|model)\.)+")
# Heads that no embedding needs, the pooler, and buffers that follow from the sizes.
_UNUSED = re.compile(
    r"(pooler|cls|lm_head|classifier|pre_classifier|qa_outputs|vocab_(transform|layer_norm|projector))\."
    r"|embeddings\.(position_ids|token_type_ids)$"
)


def not_written(config: Mapping[str, Any]) -> str | None:
    """Why the hand-written graph can't be that of ``config``, or ``None`` where it can."""
    if config.get("model_type") not in _BERTS:
        return f"model_type {config.get('model_type')!r} is none of {', '.join(_BERTS)}"
    if config.get("position_embedding_type") not in (None, "absolute"):
        return f"position embeddings of type {config['position_embedding_type']!r} are not 'absolute'"
    activation = str(bert_config(config).get("hidden_act", "gelu"))
    if activation not in ACTIVATIONS:
        return f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}"
    return None


def bert_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with the names of BERT's fields."""
    if config.get("model_type") != "distilbert":
        return dict(config)
    return {_DISTILBERT_CONFIG.get(name, name): value for name, value in config.items()}


def bert_tensor(name: str) -> str:
    """The name of a tensor in a plain ``BertModel``."""
    name = name[match.end() :] if (match := _PREFIXES.match(name)) else name
    for other, ours in {**_DISTILBERT_TENSORS, **_OLD_TENSORS}.items():
        name = name.replace(other, ours)
    return name


def is_unused(name: str) -> bool:
    """Whether an embedding does without the tensor that :func:`bert_tensor` calls so."""
    return _UNUSED.match(name) is not None


def has_token_types(config: Mapping[str, Any]) -> bool:
    """Whether the tokens of a pair's second text get a vector of their own."""
    return config.get("model_type") not in _NO_TOKEN_TYPES and config.get("type_vocab_size") != 1


def counted_from(config: Mapping[str, Any]) -> int | None:
    """The padding token's id where positions are counted from it, ``None`` where the first position is number 0."""
    if config.get("model_type") not in _COUNT_FROM_PAD:
        return None
    pad = config.get("pad_token_id", 1)
    if type(pad) is not int or pad < 0:
        raise CheckpointError(f"config.json: pad_token_id is {pad!r}, from which positions are counted")
    return pad


def positions(config: Mapping[str, Any]) -> int:
    """How many tokens a text may have; ``CheckpointError`` where that leaves no room for one."""
    pad = counted_from(config)
    table = size(config, "max_position_embeddings")
    count = table if pad is None else table - pad - 1
    if count < 3:
        counted = "" if pad is None else f", counted from pad_token_id {pad},"
        raise CheckpointError(f"config.json: max_position_embeddings {table}{counted} leaves no room for a text")
    return count


def hidden_size(config: Mapping[str, Any]) -> int:
    """The width of the encoder."""
    return size(bert_config(config), "hidden_size")


def size(config: Mapping[str, Any], name: str) -> int:
    """A field of ``config`` that counts something."""
    value = config.get(name)
    if type(value) is not int or not 1 <= value < _LARGEST_SIZE:
        raise CheckpointError(f"config.json: {name} is {value!r}, not a positive number below {_LARGEST_SIZE}")
    return value
