"""Checkpoints as they are found on the hub, in small: a tiny BERT with other files around it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from tests import torch_files
from tests.stored import upper_halves, write_safetensors

WIDTH = 64
"""That of the tiny BERT."""


@dataclass(frozen=True)
class Layout:
    """What differs from a checkpoint with CLS pooling that is saved without ``modules.json``."""

    modules: tuple[tuple[str, str], ...] = ()
    """Classes and folders; none for no ``modules.json``."""
    files: dict[str, Any] = field(default_factory=dict)
    """JSON by path."""
    dense: tuple[tuple[str, int, int, str, bool], ...] = ()
    """Folder, inputs, outputs, activation, and whether it has a bias."""
    norms: tuple[tuple[str, int], ...] = ()
    """LayerNorm modules: folder and width."""
    dense_type: Literal["F32", "F16", "BF16"] = "F32"
    """The type of the numbers in the Dense modules."""
    pickled: bool = False
    """Whether weights are in ``pytorch_model.bin``."""
    move: str = ""
    """The folder that the encoder's files lie in."""
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of ``config.json``."""


def pooling(mode: str | list[str], width: int = WIDTH, **more: Any) -> dict[str, Any]:
    """The settings of a Pooling module."""
    return {"word_embedding_dimension": width, "pooling_mode": mode, **more}


def chain(*kinds: str) -> tuple[tuple[str, str], ...]:
    """Modules in the folders that sentence-transformers gives them."""
    return tuple((kind, "" if kind == "Transformer" else f"{number}_{kind}") for number, kind in enumerate(kinds))


SENTENCES = "config_sentence_transformers.json"
USUAL = chain("Transformer", "Pooling", "Normalize")
MEAN = {"1_Pooling/config.json": pooling("mean")}
BARE = chain("Transformer", "Pooling")
DENSE = chain("Transformer", "Pooling", "Dense", "Normalize")

LAYOUTS: dict[str, Layout] = {
    "all-MiniLM": Layout(USUAL, MEAN),
    "bge": Layout(USUAL, {"1_Pooling/config.json": pooling("cls")}),
    "multi-qa-mpnet-base-dot": Layout(BARE, MEAN | {SENTENCES: {"similarity_fn_name": "dot"}}),
    "paraphrase-MiniLM": Layout(BARE, MEAN),
    "msmarco-tas-b": Layout(BARE, {"1_Pooling/config.json": pooling("cls")}),
    "old flags": Layout(
        BARE,
        {
            "1_Pooling/config.json": {
                "word_embedding_dimension": WIDTH,
                "pooling_mode_cls_token": False,
                "pooling_mode_mean_tokens": True,
                "pooling_mode_max_tokens": False,
                "pooling_mode_mean_sqrt_len_tokens": False,
            }
        },
    ),
    "no flag": Layout(
        USUAL,
        {"1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False}},
    ),
    "mode before flags": Layout(USUAL, {"1_Pooling/config.json": pooling("mean", pooling_mode_cls_token=True)}),
    "max pooling": Layout(BARE, {"1_Pooling/config.json": pooling("max")}),
    "mean by root": Layout(BARE, {"1_Pooling/config.json": pooling("mean_sqrt_len_tokens")}),
    "weighted mean": Layout(BARE, {"1_Pooling/config.json": pooling("weightedmean")}),
    "last token": Layout(USUAL, {"1_Pooling/config.json": pooling("lasttoken")}),
    "cls and mean": Layout(USUAL, {"1_Pooling/config.json": pooling(["cls", "mean"])}),
    "three poolings": Layout(
        BARE,
        {
            "1_Pooling/config.json": {
                "word_embedding_dimension": WIDTH,
                "pooling_mode_mean_tokens": True,
                "pooling_mode_cls_token": True,
                "pooling_mode_max_tokens": True,
            }
        },
    ),
    "LaBSE": Layout(
        DENSE, {"1_Pooling/config.json": pooling("cls")}, (("2_Dense", WIDTH, WIDTH, "activation.Tanh", True),)
    ),
    "distiluse": Layout(
        chain("Transformer", "Pooling", "Dense"), MEAN, (("2_Dense", WIDTH, 32, "activation.Tanh", True),)
    ),
    "two dense": Layout(
        chain("Transformer", "Pooling", "Dense", "Dense", "Normalize"),
        MEAN,
        (("2_Dense", WIDTH, 96, "linear.Identity", False), ("3_Dense", 96, 48, "linear.Identity", False)),
    ),
    "dense to few": Layout(
        chain("Transformer", "Pooling", "Dense"), MEAN, (("2_Dense", WIDTH, 8, "activation.ReLU", True),)
    ),
    "dense to five of fifty": Layout(
        chain("Transformer", "Pooling", "Dense", "Dense"),
        MEAN,
        (("2_Dense", WIDTH, 50, "activation.Tanh", True), ("3_Dense", 50, 5, "linear.Identity", True)),
    ),
    "mean twice": Layout(BARE, {"1_Pooling/config.json": pooling(["mean", "mean"])}),
    "empty settings": Layout(
        USUAL, MEAN | {"sentence_bert_config.json": {}, "sentence_xlnet_config.json": {"max_seq_length": 8}}
    ),
    "default prompt beside empty ones": Layout(
        USUAL,
        MEAN | {SENTENCES: {"prompts": {"query": "", "document": "", "a": "a: "}, "default_prompt_name": "a"}},
    ),
    "null prompts": Layout(USUAL, MEAN | {SENTENCES: {"prompts": {"query": None}, "default_prompt_name": "document"}}),
    "dense after two poolings": Layout(
        DENSE,
        {"1_Pooling/config.json": pooling(["cls", "mean"])},
        (("2_Dense", 2 * WIDTH, WIDTH, "activation.GELU", True),),
    ),
    "dense with sigmoid": Layout(
        chain("Transformer", "Pooling", "Dense"), MEAN, (("2_Dense", WIDTH, 40, "activation.Sigmoid", True),)
    ),
    "ance": Layout(
        chain("Transformer", "Pooling", "Dense", "LayerNorm"),
        {"1_Pooling/config.json": pooling("cls"), SENTENCES: {"similarity_fn_name": "dot"}},
        (("2_Dense", WIDTH, WIDTH, "linear.Identity", True),),
        (("3_LayerNorm", WIDTH),),
    ),
    "layer norm of the pooled": Layout(
        chain("Transformer", "Pooling", "LayerNorm", "Dense", "Normalize"),
        MEAN,
        (("3_Dense", WIDTH, 32, "activation.Tanh", True),),
        (("2_LayerNorm", WIDTH),),
    ),
    "layer norm of a sum": Layout(
        chain("Transformer", "Pooling", "LayerNorm"),
        {"1_Pooling/config.json": pooling("mean_sqrt_len_tokens")},
        norms=(("2_LayerNorm", WIDTH),),
    ),
    "dense in float16": Layout(DENSE, MEAN, (("2_Dense", WIDTH, WIDTH, "activation.Tanh", True),), dense_type="F16"),
    "dense in bfloat16": Layout(DENSE, MEAN, (("2_Dense", WIDTH, 32, "activation.Tanh", False),), dense_type="BF16"),
    "all weights pickled": Layout(
        chain("Transformer", "Pooling", "Dense", "LayerNorm"),
        MEAN,
        (("2_Dense", WIDTH, 32, "activation.Tanh", True),),
        (("3_LayerNorm", 32),),
        pickled=True,
    ),
    "dropout": Layout(
        (*BARE, ("Dropout", "2_Dropout"), ("Normalize", "3_Normalize")),
        MEAN | {"2_Dropout/config.json": {"dropout": 0.1}},
    ),
    "stale pooling": Layout(
        (("Transformer", ""), ("Pooling", "2_Pooling"), ("Normalize", "3_Normalize")),
        {"1_Pooling/config.json": pooling("max"), "2_Pooling/config.json": pooling("mean")},
    ),
    "encoder in a folder": Layout(
        (("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")), MEAN, move="0_Transformer"
    ),
    "truncated": Layout(USUAL, MEAN | {SENTENCES: {"truncate_dim": 32}}),
    "truncated by more than there is": Layout(USUAL, MEAN | {SENTENCES: {"truncate_dim": 1000}}),
    "roberta's settings": Layout(
        USUAL, MEAN | {"sentence_roberta_config.json": {"max_seq_length": 24, "do_lower_case": True}}
    ),
    "distilbert's settings": Layout(USUAL, MEAN | {"sentence_distilbert_config.json": {"max_seq_length": 16}}),
    "two files of settings": Layout(
        USUAL,
        MEAN
        | {
            "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
            "sentence_xlnet_config.json": {"max_seq_length": 8},
        },
    ),
    "prompts": Layout(USUAL, MEAN | {SENTENCES: {"prompts": {"query": "query: ", "document": "passage: "}}}),
    "prompts of a model that leaves them out": Layout(
        USUAL,
        {"1_Pooling/config.json": pooling("mean", include_prompt=False), SENTENCES: {"prompts": {"query": ""}}},
    ),
    "newer class names": Layout(
        (
            ("base.modules.transformer.Transformer", ""),
            ("sentence_transformer.modules.pooling.Pooling", "1_Pooling"),
            ("sentence_transformer.modules.normalize.Normalize", "2_Normalize"),
        ),
        {"1_Pooling/config.json": {"embedding_dimension": WIDTH, "pooling_mode": "cls", "include_prompt": True}},
    ),
    "newer settings": Layout(
        USUAL,
        MEAN
        | {
            "sentence_bert_config.json": {
                "transformer_task": "feature-extraction",
                "modality_config": {
                    "text": {"method": "forward", "method_output_name": "last_hidden_state"},
                },
                "module_output_name": "token_embeddings",
            }
        },
    ),
    "head beside modules": Layout(USUAL, MEAN, config={"architectures": ["BertForMaskedLM"]}),
    "euclidean": Layout(BARE, MEAN | {SENTENCES: {"similarity_fn_name": "euclidean"}}),
}
"""What sentence-transformers and embedge both load."""


def write_layout(layout: Layout, make_checkpoint: Callable[..., Path], name: str = "tiny") -> Path:
    """Write the checkpoint of ``layout``."""
    source = make_checkpoint(name, **layout.config)
    for folder, inputs, outputs, activation, bias in layout.dense:
        (source / folder).mkdir()
        fields = {
            "in_features": inputs,
            "out_features": outputs,
            "bias": bias,
            "activation_function": f"torch.nn.modules.{activation}",
        }
        (source / folder / "config.json").write_text(json.dumps(fields))
        _write_dense(source / folder / "model.safetensors", dense_weights(inputs, outputs, bias), layout.dense_type)
    for folder, width in layout.norms:
        (source / folder).mkdir()
        (source / folder / "config.json").write_text(json.dumps({"dimension": width}))
        save_file(norm_weights(width), source / folder / "model.safetensors")
    if layout.modules:
        listed = [
            {"idx": number, "name": str(number), "path": folder, "type": _class(kind)}
            for number, (kind, folder) in enumerate(layout.modules)
        ]
        (source / "modules.json").write_text(json.dumps(listed))
    for path, content in layout.files.items():
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(json.dumps(content))
    for weights in source.rglob("model.safetensors") if layout.pickled else ():
        torch_files.write(weights.with_name("pytorch_model.bin"), load_file(weights))
        weights.unlink()
    if layout.move:
        (source / layout.move).mkdir()
        for path in ("config.json", "tokenizer.json", "model.safetensors"):
            (source / path).rename(source / layout.move / path)
    return source


def write_large_channels(source: Path) -> Path:
    """Make three channels of the pooled vector 40 times as large; the first Dense module makes up for it."""
    encoder, dense = load_file(source / "model.safetensors"), load_file(source / "2_Dense" / "model.safetensors")
    for part in ("weight", "bias"):
        encoder[f"encoder.layer.1.output.LayerNorm.{part}"][:3] *= 40
    dense["linear.weight"][:, :3] /= 40
    save_file(encoder, source / "model.safetensors")
    save_file(dense, source / "2_Dense" / "model.safetensors")
    return source


def _class(kind: str) -> str:
    return f"sentence_transformers.{kind}" if "." in kind else f"sentence_transformers.models.{kind}"


def _write_dense(path: Path, weights: dict[str, Any], kind: str) -> None:
    if kind == "BF16":
        write_safetensors(path, kind, upper_halves(weights))
    else:
        write_safetensors(
            path, kind, {name: array.astype({"F16": "<f2", "F32": "<f4"}[kind]) for name, array in weights.items()}
        )


def write_reranker(source: Path, **config: Any) -> Path:
    """Make a reranker of the tiny BERT in ``source``: a head with random weights, and ``config``."""
    fields = json.loads((source / "config.json").read_text())
    fields = {**fields, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}, **config}
    (source / "config.json").write_text(json.dumps(fields))
    random, width = np.random.default_rng(1), fields["hidden_size"]
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(source / "model.safetensors").items()}
    for name, shape in {"bert.pooler.dense": (width, width), "classifier": (1, width)}.items():
        tensors[f"{name}.weight"] = random.normal(0, 0.3, shape).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.3, shape[:1]).astype(np.float32)
    save_file(tensors, source / "model.safetensors")
    return source


def write_modern_reranker(source: Path, **config: Any) -> Path:
    """Make a ModernBERT's reranker of the tiny BERT in ``source``, as far as it is read before it is traced."""
    fields = json.loads((source / "config.json").read_text())
    fields |= {"model_type": "modernbert", "architectures": ["ModernBertForSequenceClassification"]}
    fields |= {"id2label": {"0": "LABEL_0"}, "classifier_pooling": "mean", **config}
    (source / "config.json").write_text(json.dumps(fields))
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    shapes = {"head.dense.weight": (WIDTH, WIDTH), "head.norm.weight": (WIDTH,), "classifier.weight": (1, WIDTH)}
    tensors = {name: np.ones(shape, np.float32) for name, shape in {**shapes, "classifier.bias": (1,)}.items()}
    save_file(tensors, source / "model.safetensors")
    return source


def write_trained_reranker(minilm: Path, directory: Path) -> Path:
    """A reranker of MiniLM's trained encoder, whose head is random and whose scores are not squeezed."""
    directory.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(minilm / name, directory / name)
    return write_reranker(directory, sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"})


def dense_weights(inputs: int, outputs: int, bias: bool) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Random ones, the same for the same sizes."""
    random = np.random.default_rng(inputs + outputs)
    weights = {"linear.weight": random.normal(0, 0.2, (outputs, inputs)).astype(np.float32)}
    if bias:
        weights["linear.bias"] = random.normal(0, 0.2, outputs).astype(np.float32)
    return weights


def norm_weights(width: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Likewise."""
    random = np.random.default_rng(width)
    return {
        f"norm.{name}": random.normal(name == "weight", 0.3, width).astype(np.float32) for name in ("weight", "bias")
    }
