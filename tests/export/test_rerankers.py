"""Cross-encoders become bundles that score pairs as sentence-transformers does."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from embedge import BundleError, CheckpointError, Embedder, ExportError, Reranker
from embedge_export import checkpoint, export, inspect
from tests.cases import MakeCheckpoint, calibrate_briefly
from tests.layouts import write_modern_reranker, write_reranker, write_trained_reranker

QUERIES = ("why does bread dough rise?", "boats", "")
TYPES_GIVEN = {"a tokenizer that gives token types": True}
IDENTITY = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}


def test_a_reranker_is_recognised(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = write_reranker(make_checkpoint())
    exported = export(source, tmp_path / "out", precision=["fp32"])
    manifest = exported.manifest
    assert (manifest.task, manifest.dimensions, manifest.tokenizer.between) == ("rerank", 1, (102,))
    assert manifest.tokenizer.second == 30522
    assert manifest.measured.variants["fp32"].batch_invariant
    assert inspect(source).task == "rerank"
    with pytest.raises(BundleError, match="'rerank': load it with Reranker"):
        Embedder.load(exported.path)


def test_which_text_is_the_query_counts(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """The second text's tokens have a type of their own."""
    source = write_reranker(make_checkpoint(), **IDENTITY)
    export(source, tmp_path / "out", precision=["fp32"])
    with Reranker.load(tmp_path / "out") as model:
        one, other, again = model.scores([("a boat", "the sea"), ("the sea", "a boat"), ("a boat", "the sea")])
    assert one == again
    assert one != other


def test_int8_scores_are_near_those_of_fp32(minilm: Path, tmp_path: Path, passages: list[str]) -> None:
    source = write_trained_reranker(minilm, tmp_path / "large")
    exported = export(source, tmp_path / "out", precision=["int8", "fp32"])
    assert exported.manifest.measured.variants["int8"].batch_invariant
    scores = {}
    for variant in ("int8", "fp32"):
        with Reranker.load(exported.path, variant=variant) as model:
            scores[variant] = model.scores([(QUERIES[0], text) for text in passages[:60]])
    assert np.corrcoef(scores["int8"], scores["fp32"])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"id2label": {"0": "no", "1": "yes"}}, "gives 2 scores"),
        ({"architectures": ["MPNetForSequenceClassification"], "model_type": "mpnet"}, "model_type 'mpnet'"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Softmax"}}, "activation_fn"),
    ],
)
def test_other_heads_are_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    source = write_reranker(make_checkpoint(), **config)
    if "model_type" in config:
        (source / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(CheckpointError, match=told):
        export(source, tmp_path / "out", precision=["fp32"])


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"classifier_pooling": "max"}, "classifier_pooling 'max' is none of cls, mean"),
        ({"classifier_pooling": None}, "classifier_pooling None is none of"),
        ({"classifier_activation": "silu"}, "classifier_activation 'silu' is none of gelu, relu, tanh"),
        ({"norm_eps": "small"}, "norm_eps is 'small'"),
        ({"classifier_bias": True}, r"no tensor head\.dense\.bias"),
        ({"norm_bias": True}, r"no tensor head\.norm\.bias"),
        ({"id2label": {"0": "no", "1": "yes"}}, "gives 2 scores"),
    ],
    ids=str,
)
def test_what_a_modernberts_head_must_not_have_is_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    source = write_modern_reranker(make_checkpoint(), **config)
    with pytest.raises(CheckpointError, match=told) as caught:
        export(source, tmp_path / "out")
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_modernbert_is_known_as_a_reranker_without_torch(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """Its pairs have no token types, whatever the tokenizer says."""
    source = write_modern_reranker(make_checkpoint())
    found = inspect(source)
    assert (found.task, found.pooling, found.dimensions) == ("rerank", "mean", 1)
    assert found.head == ("Dense, width 64", "LayerNorm", "Dense, width 1")
    assert "traced" in found.route
    assert checkpoint.load(str(source)).tokenizer_facts.second == 0
    with pytest.raises(ExportError, match=r"config\.json: .*fp16 is for hand-written graphs only"):
        export(source, tmp_path / "out", precision="fp16")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"via": "optimum"}, r"config\.json: .*token types \(type_vocab_size\) has a hand-written graph"),
        ({"precision": "fp16"}, "fp16"),
        ({"report": "x.html"}, "no report"),
    ],
)
def test_what_rerankers_have_not_is_said(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    source = write_reranker(make_checkpoint())
    options = {name: str(tmp_path / value) if name == "report" else value for name, value in options.items()}
    with pytest.raises(ExportError, match=told):
        export(source, tmp_path / "out", **{"precision": "fp32", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("bert", {}),
        ("bert", IDENTITY),
        ("bert", {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}),
        ("roberta", {}),
        ("xlm-roberta", IDENTITY),
        ("camembert", {}),
        ("distilbert", IDENTITY),
        ("modernbert", {}),
        ("modernbert", {"classifier_pooling": "mean", **IDENTITY}),
        ("modernbert", {"classifier_activation": "relu", **IDENTITY}),
        ("modernbert", {"classifier_bias": True, "norm_bias": True, "norm_eps": 1e-3, **IDENTITY}),
        ("modernbert", TYPES_GIVEN),
    ],
    ids=str,
)
def test_scores_are_those_of_sentence_transformers(
    tmp_path: Path, passages: list[str], model_type: str, config: dict[str, Any]
) -> None:

    from tests import random_encoders

    source = random_encoders.write(tmp_path / "source", model_type, passages, reranker=True, **config)
    fields = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**fields, **config}))
    if config == TYPES_GIVEN:
        settings = json.loads((source / "tokenizer_config.json").read_text())
        del settings["model_input_names"]
        (source / "tokenizer_config.json").write_text(json.dumps(settings))
    assert_scores_are_sentence_transformers(source, tmp_path, passages)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
@pytest.mark.parametrize("model_type", ["modernbert", "roberta"])
def test_what_a_cross_encoder_saves_is_exported(tmp_path: Path, passages: list[str], model_type: str) -> None:
    from sentence_transformers import CrossEncoder

    from tests import random_encoders

    plain = random_encoders.write(tmp_path / "plain", model_type, passages, reranker=True)
    CrossEncoder(str(plain), device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "modules.json").exists()
    assert_scores_are_sentence_transformers(tmp_path / "saved", tmp_path, passages)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
def test_a_reranker_without_token_types_can_be_traced(
    tmp_path: Path, passages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import random_encoders

    calibrate_briefly(monkeypatch)
    source = random_encoders.write(tmp_path / "source", "distilbert", passages, reranker=True, **IDENTITY)
    assert_scores_are_sentence_transformers(source, tmp_path, passages, via="optimum")


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
def test_int8_of_a_modernbert_gives_the_same_bits_in_every_list(
    tmp_path: Path, passages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import random_encoders

    calibrate_briefly(monkeypatch)
    config = {"classifier_pooling": "mean", **IDENTITY}
    source = random_encoders.write(tmp_path / "source", "modernbert", passages, reranker=True, **config)
    exported = export(source, tmp_path / "out", precision=["int8", "fp32"])
    for variant in ("int8", "fp32"):
        with Reranker.load(exported.path, variant=variant) as model:
            assert_same_bits_in_every_list(model, [(query, text) for query in QUERIES for text in passages[:12]])


def assert_scores_are_sentence_transformers(
    source: Path, tmp_path: Path, passages: list[str], via: Literal["auto", "optimum"] = "auto"
) -> None:
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(source), device="cpu", local_files_only=True)
    long = " ".join(passages[:6])
    pairs = [(query, text) for query in (*QUERIES, long) for text in [*passages[:12], "", long]]
    expected = np.array([reference.predict([pair])[0] for pair in pairs])
    exported = export(source, tmp_path / "out", precision=["fp32"], via=via)
    assert exported.manifest.measured.variants["fp32"].batch_invariant
    with Reranker.load(exported.path) as model:
        np.testing.assert_allclose(model.scores(pairs), expected, atol=2e-5)
        assert_same_bits_in_every_list(model, pairs)


def assert_same_bits_in_every_list(model: Reranker, pairs: list[tuple[str, str]]) -> None:
    """Alone, together, and in another order."""
    together = model.scores(pairs)
    assert [model.scores([pair])[0] for pair in pairs] == together.tolist()
    assert model.scores(pairs[::-1]).tolist() == together[::-1].tolist()
