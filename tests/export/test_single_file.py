"""A bundle as one file: texts go in, and the library's vectors come out, to the bit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers

from benchmarks.edge.strings import strings
from benchmarks.edge.token_ids import encoder, tokenizer_model
from embedge import BundleCorrupt, Embedder, ExportError
from embedge.cli import main
from embedge.engine.ort import CPU, onnxruntime
from embedge.manifest import TOKENIZER, TokenizerFacts
from embedge.tokenizer import Tokenizer
from embedge.vectors import FloatArray
from embedge_export import convert, export
from tests.cases import MakeCheckpoint, listing, start_form
from tests.damage import flip, reseal
from tests.layouts import write_reranker

EDGES = [
    "",
    " ",
    "a",
    "\u200b",
    "[SEP]",
    "word " * 700,
    "x" * 100,
    "x" * 101,
    "東京の夜は静かだ",
    "한국어",
    "😀👍🏽",
    "e\u0301\0",
]
KEEPS_ALL = {"lowercase": False, "strip_accents": False, "clean_text": False, "handle_chinese_chars": False}


def run(file: Path, texts: Sequence[str], *, is_query: bool = False) -> FloatArray:
    """The vectors that a program gets from ONNX Runtime, as it is when nothing is set."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=[CPU])
    (vectors,) = session.run(["vectors"], {"texts": np.array(texts, object), "is_query": np.array([is_query])})
    return np.asarray(vectors)


@pytest.fixture(scope="module")
def file(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained MiniLM as one file."""
    (path,) = convert(bundle, tmp_path_factory.mktemp("file") / "model.onnx")
    return path


def test_vectors_have_the_librarys_bits(bundle: Path, file: Path, passages: list[str]) -> None:
    """Of the graph of ONNX Runtime's own operators that is exact on every CPU."""
    texts = [*passages[::8], *EDGES, *(text for kind in strings(4).values() for text in kind)]
    with pytest.warns(UserWarning, match="truncated to the model"), start_form(bundle, "unsigned") as model:
        expected = model.embed(texts)
    assert np.array_equal(run(file, texts), expected)


def test_no_texts_give_no_vectors(file: Path) -> None:
    assert run(file, []).shape == (0, 384)


def test_the_file_stands_alone(file: Path) -> None:
    """It has its weights, and operators that ONNX Runtime itself has; it says what it is."""
    model = onnx.load(file, load_external_data=False)
    onnx.checker.check_model(model)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert {opset.domain for opset in model.opset_import} == {"", "ai.onnx.ml", "com.microsoft"}
    facts = {fact.key: fact.value for fact in model.metadata_props}
    assert (facts["variant"], facts["max_tokens"], facts["similarity"]) == ("int8", "256", "cosine")


def test_loading_it_prints_nothing(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(file, ["a"])
    assert capfd.readouterr() == ("", "")


def test_queries_get_the_models_prompt(tiny: Path, tiny_onnx: Path) -> None:
    with start_form(tiny, "unsigned") as model:
        assert np.array_equal(run(tiny_onnx, ["a query"], is_query=True)[0], model.embed_query("a query"))
        assert np.array_equal(run(tiny_onnx, ["a query"]), model.embed(["a query"]))
        assert not np.array_equal(model.embed_query("a query"), model.embed(["a query"])[0])


def test_a_bundle_without_int8_becomes_a_file_of_fp32(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export(tiny_checkpoint, tmp_path / "fp32", precision="fp32")
    (path,) = convert(tmp_path / "fp32", tmp_path / "model.onnx")
    with Embedder.load(tmp_path / "fp32", threads=1) as model:
        assert np.array_equal(run(path, ["a text", "another"]), model.embed(["a text", "another"]))


@pytest.fixture(scope="module")
def fields(tiny: Path) -> dict[str, Any]:
    """BERT's English tokenizer."""
    found: dict[str, Any] = json.loads((tiny / TOKENIZER).read_bytes())
    return found


@pytest.mark.parametrize(
    ("normalizer", "side"), [({}, "left"), ({"strip_accents": False}, "right"), (KEEPS_ALL, "right")]
)
def test_token_ids_are_those_of_the_library(
    fields: dict[str, Any], normalizer: dict[str, bool], side: Any, tmp_path: Path
) -> None:
    """For every kind of tokenizer that BERT models have, cut at either end."""
    raw = json.dumps({**fields, "normalizer": {**fields["normalizer"], **normalizer}}).encode()
    (tmp_path / TOKENIZER).write_bytes(raw)
    facts = TokenizerFacts((101,), (102,), side)
    encode = encoder(tokenizer_model(raw, facts, max_tokens=40))
    # A table of all words by the pieces of the longest would take 3 GB.
    many = ["a " * 20_000 + "b" * 20_000, "c" * 20_000 + " d" * 20_000]
    texts = [*EDGES, *many, *(text for kind in strings(20).values() for text in kind)]
    expected = Tokenizer(tmp_path / TOKENIZER, 40, facts).encode(texts)
    assert len(expected.truncated) > 20
    assert list(map(encode, texts)) == expected.ids


def added(content: str, **changed: bool) -> dict[str, Any]:
    """A token that is added to a ``tokenizer.json``; one that the vocabulary has keeps its id there."""
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": 30522, "content": content, **flags, "special": True, **changed}


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (
            # Of one character, of a word that the vocabulary has, of what begins another.
            {"added_tokens": list(map(added, ["b", "hello", "\u00e9", ".", "E", "ab", "abcd", "bc"]))},
            ["rabbits BB", "hellos HELLO HELLOS", "cafe\u0301 caf\u00e9s...", "EeE", "abcd abc bcd xabc"],
        ),
        ({"normalizer": None}, ["Caf\u00e9 caf\u00e9, \u6771\u4eac\0x hello"]),
    ],
)
def test_token_ids_are_those_of_tokenizers_own(
    fields: dict[str, Any], change: dict[str, Any], texts: list[str]
) -> None:
    """With added tokens that few models have, and without a normalizer."""
    raw = json.dumps({**fields, **change}).encode()
    encode = encoder(tokenizer_model(raw, TokenizerFacts((), (), "right"), 40))
    own = tokenizers.Tokenizer.from_buffer(raw)
    assert list(map(encode, texts)) == [own.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, "a Unigram model: only WordPiece"),
        ({"model": {"type": "of tomorrow"}}, "not one that this version of tokenizers reads"),
        ({"normalizer": {"type": "NFKC"}}, "has NFKC and BertPreTokenizer: only BERT's"),
        ({"pre_tokenizer": None}, "has BertNormalizer: only BERT's"),
        ({"added_tokens": [added("new", normalized=True)]}, "its added token 'new' by other rules"),
        ({"added_tokens": [added("new ")]}, "its added token 'new ' by other rules"),
    ],
)
def test_other_tokenizers_are_refused_by_name(fields: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        tokenizer_model(json.dumps({**fields, **change}).encode(), TokenizerFacts((), (), "right"), 40)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("continuing_subword_prefix", "", "marks pieces inside words by ''"),
        ("unk_token", "[none]", r"has no '\[none\]', which stands for unknown words"),
    ],
)
def test_other_vocabularies_are_refused_by_name(fields: dict[str, Any], field: str, value: str, message: str) -> None:
    raw = json.dumps({**fields, "model": {**fields["model"], field: value}}).encode()
    with pytest.raises(ExportError, match=message):
        tokenizer_model(raw, TokenizerFacts((), (), "right"), 40)


def test_a_bundle_that_is_refused_leaves_nothing_behind(copy: Path, tmp_path: Path) -> None:
    (copy / TOKENIZER).write_text(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
    reseal(copy, lambda fields: None, hashes=True)
    with pytest.raises(ExportError, match="a BPE model"):
        convert(copy, tmp_path / "model.onnx")
    assert listing(tmp_path) == ["copy"]


def test_an_altered_bundle_is_refused(copy: Path, tmp_path: Path) -> None:
    flip(copy / "model.int8.bin", 100, 1)
    with pytest.raises(BundleCorrupt):
        convert(copy, tmp_path / "model.onnx")
    assert listing(tmp_path) == ["copy"]


def test_a_reranker_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(write_reranker(make_checkpoint()), tmp_path / "reranker", precision="fp32")
    with pytest.raises(ExportError, match="is a reranker"):
        convert(tmp_path / "reranker", tmp_path / "model.onnx")


def test_a_file_that_is_there_stays_without_force(
    tiny: Path, tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    out.write_text("mine")
    assert main(["convert", str(tiny), str(out)]) == 1
    assert "exists; give another OUT or --force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["convert", str(tiny), str(out), "--force"]) == 0
    assert capsys.readouterr().out == f"{out}: {out.stat().st_size / 1e6:.1f} MB\n"
    assert out.read_bytes() == tiny_onnx.read_bytes()


def test_a_bundles_own_files_stay(copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in listing(copy)}
    with pytest.raises(ExportError, match="lies in the bundle, which stays"):
        convert(copy, copy / "model.int8.onnx", force=True)
    assert {name: (copy / name).read_bytes() for name in listing(copy)} == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.bin", "has to end in .onnx or .ort"),
        ("full.onnx", "is a directory; give the file"),
        ("none/model.ort", "none is no directory"),
    ],
)
def test_an_out_that_can_not_be_written_is_told_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "full.onnx").mkdir()
    with pytest.raises(ExportError, match=message):
        convert(tmp_path / "no bundle", tmp_path / name, force=True)
