"""What the kernels' graph of a network computes: the network's vectors, the same bits in every run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge_export.encoder import POOLINGS, Dense, Head, HeadNorm, LayerNorm, Linear
from embedge_export.network import HandWritten
from tests.kernels.running import Written, cosines, tiny_texts

pytestmark = pytest.mark.usefixtures("installed")

HEADS: dict[str, Head] = {
    **{str(mode): Head((mode,)) for mode in POOLINGS},
    "mean, own length": Head(("mean",), normalize=False),
    "mean and max": Head(("mean", "max")),
    "cls and mean": Head(("cls", "mean")),
    "all": Head(POOLINGS),
    "truncated": Head(("mean",), dimensions=24),
    "cls, own length": Head(("cls",), normalize=False, dimensions=24),
}


def dense(inputs: int, outputs: int, activation: Any) -> Dense:
    random = np.random.default_rng(outputs)
    weight = random.normal(0, 0.2, (inputs, outputs)).astype(np.float32)
    return Dense(Linear(weight, random.normal(0, 0.1, outputs).astype(np.float32)), activation)


def norm(width: int) -> HeadNorm:
    random = np.random.default_rng(width)
    weight, bias = random.normal(1, 0.1, (2, width)).astype(np.float32)
    return HeadNorm(LayerNorm(weight, bias), 1e-6)


DEEP_HEADS = {
    "dense": Head(("mean",), (dense(64, 96, "tanh"),)),
    "two of them": Head(("mean",), (dense(64, 96, "relu"), dense(96, 32, "identity"))),
    "after two poolings": Head(("cls", "mean"), (dense(128, 48, "gelu"),), normalize=False),
    "with a norm": Head(("mean",), (dense(64, 96, "identity"), norm(96))),
    "of a reranker": Head(("cls",), (dense(64, 64, "tanh"), dense(64, 1, "sigmoid")), normalize=False),
    "few outputs": Head(("mean",), (dense(64, 12, "identity"),), normalize=False),
}


def assert_right(network: HandWritten, place: Path, texts: list[list[int]]) -> None:
    """Near the equations and near ONNX Runtime's operators; and the same bits alone, together, spread and turned."""
    quantized = network.quantize(tiny_texts(16))
    written = Written(quantized, place)
    vectors = written.by_kernels(texts)
    exact = np.asarray(network.embed(texts))
    stock = written.by_stock(texts)
    assert vectors.shape == exact.shape
    if exact.shape[1] > 1:
        assert cosines(vectors, exact).min() > 0.999
        assert cosines(vectors, stock).min() > 0.9999
    lengths = np.linalg.norm(exact, axis=1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), lengths, rtol=0.03)
    for spread in (1, 2, 5):
        assert written.by_kernels(texts, spread=spread).tobytes() == vectors.tobytes()
        assert written.by_kernels(texts[::-1], spread=spread)[::-1].tobytes() == vectors.tobytes()
        alone = np.concatenate([written.by_kernels([text], spread=spread) for text in texts])
        assert alone.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("head", [pytest.param(head, id=name) for name, head in (HEADS | DEEP_HEADS).items()])
def test_every_head(network: HandWritten, tmp_path: Path, head: Head) -> None:
    assert_right(replace(network, head=head), tmp_path, tiny_texts())


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_every_activation(network: HandWritten, tmp_path: Path, activation: Any, mode: Any) -> None:
    encoder = replace(network.encoder, activation=activation)
    assert_right(replace(network, encoder=encoder, head=Head((mode,))), tmp_path, tiny_texts())


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_positions_counted_from_one_without_the_padding_token(network: HandWritten, tmp_path: Path, mode: Any) -> None:
    """RoBERTa's; a text may hold that token anywhere."""
    texts = [[5, 7, 6, 7, 9], [7, 5, 6], [5, 6, 7], [7], *tiny_texts()]
    encoder = replace(network.encoder, pad_id=7)
    assert_right(replace(network, encoder=encoder, head=Head((mode,))), tmp_path, texts)


@pytest.mark.parametrize("pad_id", [None, 7])
def test_second_texts_of_pairs(network: HandWritten, tmp_path: Path, pad_id: int | None) -> None:
    second = np.random.default_rng(1).normal(0, 0.2, 64).astype(np.float32)
    texts = [[*text, *(1000 + word for word in text[::-1])] for text in tiny_texts()]
    encoder = replace(network.encoder, second=second, pad_id=pad_id)
    assert_right(replace(network, encoder=encoder), tmp_path, texts)


@pytest.mark.parametrize("heads", [1, 2, 8, 16, 64])
def test_heads_of_any_size(network: HandWritten, tmp_path: Path, heads: int) -> None:
    assert_right(replace(network, encoder=replace(network.encoder, heads=heads)), tmp_path, tiny_texts())


def test_one_layer_with_cls_pooling(network: HandWritten, tmp_path: Path) -> None:
    encoder = replace(network.encoder, layers=network.encoder.layers[:1])
    assert_right(replace(network, encoder=encoder, head=Head(("cls",))), tmp_path, tiny_texts())


def test_the_longest_text_beside_the_shortest(network: HandWritten, tmp_path: Path) -> None:
    ids = np.random.default_rng(2).integers(5, 1000, 512).tolist()
    assert_right(network, tmp_path, [ids, ids[:1], ids[:511], ids[:127], ids[:128], ids[:129]])


def test_no_texts(network: HandWritten, tmp_path: Path) -> None:
    written = Written(network.quantize(tiny_texts(16)), tmp_path)
    assert written.by_kernels([]).shape == (0, 64)
