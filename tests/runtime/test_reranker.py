"""What a reranker gives, and what it refuses."""

import asyncio
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from embedge import EmbedgeError, InputError, Ranked, Reranker, verify
from embedge_export import export
from tests.cases import MakeCheckpoint, write_checkpoint
from tests.damage import reseal
from tests.layouts import write_reranker

TEXTS = ["yeast makes gas", "boats on the sea", "", "bread " * 40]


@pytest.fixture(scope="module")
def bundle_of_reranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reranker")
    source = write_reranker(write_checkpoint(place / "tiny", minilm, None))
    export(source, place / "bundle", precision=["fp32"], max_tokens=64)
    return place / "bundle"


@pytest.fixture(scope="module")
def reranker(bundle_of_reranker: Path) -> Any:
    with Reranker.load(bundle_of_reranker, threads=2) as model:
        yield model


def test_texts_come_by_their_scores(reranker: Reranker) -> None:
    scores = reranker.scores([("bread", text) for text in TEXTS])
    assert scores.dtype == np.float32
    ranked = reranker.rank("bread", TEXTS)
    assert [found.index for found in ranked] == (-scores).argsort(kind="stable").tolist()
    assert [found.score for found in ranked] == sorted(map(float, scores), reverse=True)
    assert reranker.rank("bread", iter(TEXTS), top=2) == ranked[:2]
    assert reranker.rank("bread", []) == []
    assert reranker.scores([]).shape == (0,)


def test_equal_scores_keep_their_order(reranker: Reranker) -> None:
    assert [found.index for found in reranker.rank("bread", ["same"] * 5)] == [0, 1, 2, 3, 4]


def test_a_score_has_the_same_bits_alone_and_in_any_list(reranker: Reranker, passages: list[str]) -> None:
    pairs = [
        (query, text) for query in ("bread", "what runs at the edge?") for text in passages[:40] if len(text) < 150
    ]
    together = reranker.scores(pairs)
    assert [reranker.scores([pair])[0] for pair in pairs] == together.tolist()
    assert reranker.scores(pairs[::-1]).tolist() == together[::-1].tolist()


@pytest.mark.parametrize("squashed", [True, False])
def test_a_reranker_knows_whether_its_scores_went_through_a_sigmoid(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, squashed: bool
) -> None:
    name = f"torch.nn.modules.{'activation.Sigmoid' if squashed else 'linear.Identity'}"
    source = write_reranker(make_checkpoint(), sentence_transformers={"activation_fn": name})
    export(source, tmp_path / "out", precision=["fp32"])
    with Reranker.load(tmp_path / "out") as model:
        assert model.squashed == model.manifest.squashed == squashed
    reseal(tmp_path / "out", lambda fields: fields.pop("squashed"))  # as bundles were before
    with Reranker.load(tmp_path / "out") as model:
        assert model.squashed == squashed


def test_an_operator_with_a_similar_name_is_no_sigmoid(bundle_of_reranker: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(bundle_of_reranker, tmp_path / "bundle")
    graph = onnx.load(bundle / "model.fp32.onnx", load_external_data=False)
    (sigmoid,) = (node for node in graph.graph.node if node.op_type == "Sigmoid")
    sigmoid.op_type, sigmoid.name = "HardSigmoid", "Sigmoid"
    (bundle / "model.fp32.onnx").write_bytes(graph.SerializeToString())
    reseal(bundle, lambda fields: fields.pop("squashed"), hashes=True)
    with Reranker.load(bundle) as model:
        assert not model.squashed


def test_texts_of_pairs_can_be_cut_by_themselves(reranker: Reranker) -> None:
    tokenizer = reranker.tokenizer
    encoded = tokenizer.encode_pairs([("bread", "yeast makes gas"), ("bread", "yeast")], max_second=1)
    assert encoded.ids[0] == encoded.ids[1]
    assert encoded.truncated == [0]
    left = tokenizer.encode_pairs([("bread", "yeast makes gas")], max_second=1, side="left")
    assert left.ids == tokenizer.encode_pairs([("bread", "gas")]).ids


def test_long_pairs_are_truncated_on_the_longer_side_and_counted(reranker: Reranker) -> None:
    long = "bread rises " * 100
    with pytest.warns(UserWarning, match=r"^2 pairs were truncated to the model's 64 tokens"):
        cut = reranker.scores([("bread", long), ("bread", long + "and more"), ("bread", "short")])
    assert cut[0] == cut[1]
    with pytest.raises(InputError, match=r"pairs\[1\] has more than the model's 64 tokens"):
        reranker.scores([("a", "b"), ("bread", long)], on_overflow="error")


@pytest.mark.parametrize(
    ("pairs", "error", "told"),
    [
        ("ab", TypeError, "pairs is str"),
        ({"a": "b"}, TypeError, "pairs is dict"),
        (None, TypeError, "pairs is NoneType"),
        ([("a", "b"), "ab"], InputError, r"pairs\[1\] is str, not two texts"),
        ([("a",)], InputError, r"pairs\[0\]"),
        ([("a", None)], InputError, r"a text of pairs\[0\] is NoneType"),
        ([("a", "b"), ("a", "\ud83d")], InputError, r"^pairs\[1\] has half of a surrogate pair"),
        ([("a", "b"), ("a", "c"), ("\ud83d", "d")], InputError, r"^pairs\[2\] has half of a surrogate pair"),
        ([("a", "b"), ("\ud83d" * 9999, "c")], InputError, r"^pairs\[1\] has half of a surrogate pair"),
    ],
)
def test_what_is_no_pair_is_named(reranker: Reranker, pairs: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        reranker.scores(pairs)


@pytest.mark.parametrize(
    ("query", "texts", "told"),
    [
        ("\ud83d", ["a", "b"], "^query has half of a surrogate pair"),
        ("\ud83d", [], "^query has half of a surrogate pair"),
        ("a", ["b", "c", "\ud83d"], r"^texts\[2\] has half of a surrogate pair"),
        ("a", ["b", "bread rises " * 100], r"^the pair at texts\[1\] has more than the model's 64 tokens"),
    ],
    ids=["query", "query alone", "text", "long text"],
)
def test_a_ranking_names_the_query_or_the_text(reranker: Reranker, query: str, texts: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        reranker.rank(query, texts, on_overflow="error")


def test_wrong_options_are_named(reranker: Reranker) -> None:
    for options, error in (({"top": -1}, ValueError), ({"top": "2"}, TypeError), ({"on_overflow": "x"}, ValueError)):
        with pytest.raises(error):
            reranker.rank("a", ["b"], **options)
    with pytest.raises(TypeError, match="query is int"):
        reranker.rank(5, ["b"])  # type: ignore[arg-type]


def test_it_is_verified_pickled_shown_and_closed(bundle_of_reranker: Path) -> None:
    assert all(check.passed for check in verify(bundle_of_reranker))
    model = Reranker.load(bundle_of_reranker, threads=1)
    assert repr(model) == f"Reranker({str(bundle_of_reranker)!r}, variant='fp32', max_tokens=64, threads=1)"
    with pickle.loads(pickle.dumps(model)) as copy:
        assert copy.rank("bread", TEXTS) == model.rank("bread", TEXTS)
    ranked = asyncio.run(asyncio.to_thread(model.rank, "bread", TEXTS))
    assert isinstance(ranked[0], Ranked)
    model.close()
    with pytest.raises(EmbedgeError, match="closed"):
        model.scores([("a", "b")])
