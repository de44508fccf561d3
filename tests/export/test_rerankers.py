"""Cross-encoders become bundles that score pairs as sentence-transformers does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import BundleError, CheckpointError, Embedder, ExportError, Reranker
from embedge_export import export, inspect
from tests.cases import MakeCheckpoint
from tests.layouts import write_reranker, write_trained_reranker

QUERIES = ("why does bread dough rise?", "boats", "")
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
    ("options", "told"),
    [({"via": "optimum"}, "hand-written graph"), ({"precision": "fp16"}, "fp16"), ({"report": "x.html"}, "no report")],
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
@pytest.mark.filterwarnings("ignore")
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
    ],
    ids=str,
)
def test_scores_are_those_of_sentence_transformers(
    tmp_path: Path, passages: list[str], model_type: str, config: dict[str, Any]
) -> None:
    from sentence_transformers import CrossEncoder

    from tests import random_encoders

    source = random_encoders.write(tmp_path / "source", model_type, passages, reranker=True)
    fields = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**fields, **config}))
    reference = CrossEncoder(str(source), device="cpu", local_files_only=True)
    long = " ".join(passages[:6])
    pairs = [(query, text) for query in (*QUERIES, long) for text in [*passages[:12], "", long]]
    expected = np.array([reference.predict([pair])[0] for pair in pairs])
    exported = export(source, tmp_path / "out", precision=["fp32"])
    with Reranker.load(exported.path) as model:
        np.testing.assert_allclose(model.scores(pairs), expected, atol=2e-5)
