"""DistilBERT and RoBERTa are BERTs with other names and other positions: the hand-written graph is theirs too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embedge import CheckpointError, Embedder
from embedge_export import export
from tests.cases import MakeCheckpoint

DISTILBERT = {
    "encoder.layer.": "transformer.layer.",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


@pytest.fixture
def bert(make_checkpoint: MakeCheckpoint) -> Path:
    """A BERT whose token type vector is zero, which a DistilBERT doesn't have."""
    source = make_checkpoint("bert", layer_norm_eps=1e-12)
    tensors = load_file(source / "model.safetensors")
    tensors["embeddings.token_type_embeddings.weight"][:] = 0
    save_file(tensors, source / "model.safetensors")
    return source


def test_a_distilbert_gives_the_vectors_of_the_bert_that_it_is(
    bert: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path, passages: list[str]
) -> None:
    other = make_checkpoint("distilbert")
    tensors = load_file(bert / "model.safetensors")
    del tensors["embeddings.token_type_embeddings.weight"]
    save_file({f"distilbert.{rename(name)}": tensor for name, tensor in tensors.items()}, other / "model.safetensors")
    config = {"model_type": "distilbert", "dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4}
    config |= {"activation": "gelu", "vocab_size": 30522, "max_position_embeddings": 512}
    (other / "config.json").write_text(json.dumps(config))
    assert_same_bits(bert, other, tmp_path, passages)


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert"])
def test_a_roberta_counts_positions_from_its_padding_token(
    bert: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path, passages: list[str], kind: str
) -> None:
    other = make_checkpoint("roberta")
    tensors = load_file(bert / "model.safetensors")
    positions = tensors["embeddings.position_embeddings.weight"]
    unused = np.full((2, positions.shape[1]), 7, np.float32)
    tensors["embeddings.position_embeddings.weight"] = np.concatenate([unused, positions])
    tensors["embeddings.token_type_embeddings.weight"] = np.zeros((1, positions.shape[1]), np.float32)
    tensors["lm_head.bias"] = np.zeros(3, np.float32)
    save_file({f"roberta.{name}": tensor for name, tensor in tensors.items()}, other / "model.safetensors")
    change(other, model_type=kind, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1)
    assert_same_bits(bert, other, tmp_path, passages)


def test_a_padding_token_in_a_text_is_not_counted(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """So it matters to the others' positions neither where it stands nor that it does; batches stay the same bits."""
    source = make_checkpoint()
    change(source, model_type="roberta", pad_token_id=0)
    export(source, tmp_path / "out", precision=["int8", "fp32"])
    texts = ["cut [PAD] short", "cut short [PAD]", "[PAD] cut short", "cut it short"]
    for variant in ("fp32", "int8"):
        with Embedder.load(tmp_path / "out", variant=variant) as model:
            vectors = model.embed(texts)
            for text, vector in zip(texts, vectors, strict=True):
                assert model.embed([text])[0].tobytes() == vector.tobytes()
            assert (vectors[:3] @ vectors[0] > 0.99999).all()
            assert vectors[3] @ vectors[0] < 0.9999


def test_positions_that_no_token_can_have_are_not_promised(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    change(source, model_type="roberta", pad_token_id=1)
    assert export(source, tmp_path / "out", precision=["fp32"]).manifest.max_tokens == 510


def test_the_tokenizers_limit_counts_where_sentence_transformers_tells_none(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint()
    (source / "tokenizer_config.json").write_text('{"model_max_length": 100}')
    assert export(source, tmp_path / "a", precision=["fp32"]).manifest.max_tokens == 100
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": null}')
    assert export(source, tmp_path / "b", precision=["fp32"]).manifest.max_tokens == 100
    (source / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert export(source, tmp_path / "c", precision=["fp32"]).manifest.max_tokens == 512


@pytest.mark.parametrize("limit", [0, -1, 2, 20.5, "20", True])
def test_a_tokenizers_limit_that_makes_no_sense_is_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, limit: object
) -> None:
    source = make_checkpoint()
    (source / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: model_max_length is"):
        export(source, tmp_path / "out")
    assert export(source, tmp_path / "out", max_tokens=20, precision=["fp32"]).manifest.max_tokens == 20


@pytest.mark.parametrize("pad", [None, -1, "1", 509, 510, 511, 512, 5000])
def test_a_roberta_whose_padding_token_leaves_no_positions_is_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, pad: object
) -> None:
    source = make_checkpoint()
    change(source, model_type="roberta", pad_token_id=pad)
    with pytest.raises(CheckpointError, match="pad_token_id"):
        export(source, tmp_path / "out")


def rename(name: str) -> str:
    for ours, theirs in DISTILBERT.items():
        name = name.replace(ours, theirs)
    return name


def change(source: Path, **fields: Any) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **fields}))


def assert_same_bits(first: Path, second: Path, tmp_path: Path, texts: list[str]) -> None:
    for source in (first, second):
        export(source, tmp_path / f"{source.name}-out", precision=["int8", "fp32"])
    for variant in ("int8", "fp32"):
        with (
            Embedder.load(tmp_path / f"{first.name}-out", variant=variant) as a,
            Embedder.load(tmp_path / f"{second.name}-out", variant=variant) as b,
        ):
            assert a.embed(texts[:40]).tobytes() == b.embed(texts[:40]).tobytes()
