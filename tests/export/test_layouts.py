"""What lies around an encoder is read, done, and said; or refused in one sentence."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from embedge import Bundle, CheckpointError, Embedder
from embedge_export import checkpoint, export
from embedge_export.checkpoint import registry
from embedge_export.checkpoint.card import read_card
from embedge_export.checkpoint.sources import find_known
from embedge_export.checkpoint.stored import read_safetensors
from embedge_export.inspection import inspect
from embedge_export.measure import model_tokenizer
from tests import random_encoders
from tests.cases import MakeCheckpoint
from tests.layouts import (
    BARE,
    LAYOUTS,
    MEAN,
    SENTENCES,
    USUAL,
    Layout,
    dense_weights,
    norm_weights,
    pooling,
    write_large_channels,
    write_layout,
)

TEXTS = [
    "A [MASK] and [mask]",
    "ONNX Runtime runs on edge boxes.",
    "okay thanks",
    "Bread rises because yeast makes gas. " * 3,
    "",
]


def embed(layout: Layout, make_checkpoint: MakeCheckpoint, place: Path, name: str, **options: Any) -> Any:
    """The fp32 vectors of TEXTS, and the manifest."""
    source = write_layout(layout, make_checkpoint, name)
    exported = export(source, place / f"{name}-out", precision=["fp32"], **options)
    assert exported.manifest.measured.variants["fp32"].batch_invariant
    with Embedder.load(exported.path) as model:
        return model.embed(TEXTS, prompt=""), exported.manifest


def test_without_normalize_vectors_keep_their_length(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    bare, manifest = embed(Layout(BARE, MEAN), make_checkpoint, tmp_path, "bare")
    usual, other = embed(Layout(USUAL, MEAN), make_checkpoint, tmp_path, "usual")
    lengths = np.linalg.norm(bare, axis=1, keepdims=True)
    assert (np.abs(lengths - 1) > 0.01).all()
    np.testing.assert_allclose(bare / lengths, usual, atol=1e-6)
    assert (manifest.normalized, other.normalized) == (False, True)


def test_a_dense_module_is_applied_after_the_pooling(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    pooled, _ = embed(Layout(BARE, MEAN), make_checkpoint, tmp_path, "pooled")
    found, manifest = embed(LAYOUTS["distiluse"], make_checkpoint, tmp_path, "dense")
    weights = dense_weights(64, 32, True)
    np.testing.assert_allclose(found, np.tanh(pooled @ weights["linear.weight"].T + weights["linear.bias"]), atol=1e-5)
    assert manifest.dimensions == 32


@pytest.mark.parametrize(
    "name", ["LaBSE", "two dense", "dense to few", "dense to five of fifty", "cls and mean", "max pooling", "ance"]
)
def test_int8_has_the_head_too(make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str) -> None:
    source = write_layout(LAYOUTS[name], make_checkpoint)
    measured = export(source, tmp_path / "out", precision=["int8", "fp32"]).manifest.measured.variants["int8"]
    assert measured.batch_invariant
    assert measured.fidelity.mean_cosine > 0.999


@pytest.mark.parametrize("name", ["LaBSE", "two dense"])
def test_int8_of_the_head_stands_channels_that_are_40_times_the_rest(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str
) -> None:
    """Rounded as they are, the cosine falls to 0.96."""
    source = write_large_channels(write_layout(LAYOUTS[name], make_checkpoint))
    measured = export(source, tmp_path / "out", precision=["int8", "fp32"]).manifest.measured.variants["int8"]
    assert measured.batch_invariant
    assert measured.fidelity.mean_cosine > 0.9995


def test_several_poolings_are_joined_in_their_order(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    both, manifest = embed(
        Layout(BARE, {"1_Pooling/config.json": pooling(["mean", "max"])}), make_checkpoint, tmp_path, "both"
    )
    one, _ = embed(Layout(BARE, MEAN), make_checkpoint, tmp_path, "one")
    other, _ = embed(LAYOUTS["max pooling"], make_checkpoint, tmp_path, "other")
    np.testing.assert_allclose(both, np.hstack([one, other]), atol=1e-6)
    assert (manifest.pooling, manifest.dimensions) == ("mean+max", 128)


def test_each_module_is_read_from_its_own_folder(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    _, manifest = embed(LAYOUTS["stale pooling"], make_checkpoint, tmp_path, "stale")
    assert manifest.pooling == "mean"


def test_vectors_are_truncated_after_they_are_normalised(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    whole, _ = embed(Layout(USUAL, MEAN), make_checkpoint, tmp_path, "whole")
    found, manifest = embed(LAYOUTS["truncated"], make_checkpoint, tmp_path, "truncated")
    np.testing.assert_allclose(found, whole[:, :32], atol=1e-6)
    assert (manifest.dimensions, manifest.normalized) == (32, False)


@pytest.mark.parametrize(
    ("told", "similarity"), [(None, "cosine"), ("dot", "dot"), ("euclidean", "euclidean"), ("manhattan", "manhattan")]
)
def test_the_bundle_says_how_vectors_are_compared(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, told: str | None, similarity: str
) -> None:
    _, manifest = embed(
        Layout(BARE, MEAN | {SENTENCES: {"similarity_fn_name": told}}), make_checkpoint, tmp_path, "tiny"
    )
    assert manifest.similarity == similarity


E5 = {"query": "query: ", "document": "passage: "}
NONE = {"query": "", "document": ""}


@pytest.mark.parametrize(
    ("files", "name", "prompts"),
    [
        ({}, "tiny", NONE),
        ({}, "multilingual-e5-base", E5),
        ({"config.json": {"_name_or_path": "intfloat/e5-small-v2"}}, "tiny", E5),
        ({"config.json": {"_name_or_path": "/home/me/models/e5-small-v2/"}}, "tiny", E5),
        ({SENTENCES: {"prompts": NONE}}, "e5-small-v2", E5),
        (
            {SENTENCES: {"prompts": {"query": "my query: "}}},
            "e5-small-v2",
            {"query": "my query: ", "document": "passage: "},
        ),
        ({SENTENCES: {"prompts": {**NONE, "passage": "passage: "}}}, "tiny", {"query": "", "document": "passage: "}),
        (
            {SENTENCES: {"prompts": {"search_query": "q: ", "search_document": "d: "}}},
            "tiny",
            {"query": "q: ", "document": "d: "},
        ),
        ({SENTENCES: {"prompts": {"retrieval.query": "q: "}}}, "tiny", {"query": "q: ", "document": ""}),
        (
            {SENTENCES: {"prompts": {"all": "a: "}, "default_prompt_name": "all"}},
            "tiny",
            {"query": "a: ", "document": "a: "},
        ),
        (
            {SENTENCES: {"prompts": {**NONE, "all": "a: "}, "default_prompt_name": "all"}},
            "tiny",
            NONE,
        ),
        (
            {SENTENCES: {"prompts": {"search_query": "q: "}, "default_prompt_name": "search_query"}},
            "tiny",
            {"query": "q: ", "document": ""},
        ),
        ({SENTENCES: {"prompts": {"query": None}, "default_prompt_name": "document"}}, "tiny", NONE),
        ({}, "intfloat_e5-small-v2", E5),
        ({}, "bge-base-zh-v1.5", {"query": "为这个句子生成表示以用于检索相关文章：", "document": ""}),
    ],
    ids=str,
)
def test_prompts_are_the_checkpoints_else_its_familys(
    make_checkpoint: MakeCheckpoint, files: dict[str, Any], name: str, prompts: dict[str, str]
) -> None:
    config = files.get("config.json", {})
    others = {path: content for path, content in files.items() if path != "config.json"}
    source = write_layout(Layout(USUAL, MEAN | others, config=config), make_checkpoint, name)
    found = checkpoint.load(str(resize(source, 768 if "base" in name else 384))).prompts.texts
    assert {kind: found[kind] for kind in ("query", "document")} == prompts


@pytest.mark.parametrize(
    ("config", "name", "told"),
    [
        ({"_name_or_path": "intfloat/e5-small-v2"}, "tiny", "config.json names intfloat/e5-small-v2"),
        ({}, "e5-small-v2", "it is called like intfloat/e5-small-v2"),
    ],
    ids=["by config.json", "by its name"],
)
def test_a_model_of_another_width_is_not_taken_for_one_of_the_same_name(
    make_checkpoint: MakeCheckpoint, config: dict[str, Any], name: str, told: str
) -> None:
    source = write_layout(Layout(USUAL, MEAN, config=config), make_checkpoint, name)
    found = checkpoint.load(str(source))
    assert found.prompts.texts == NONE
    assert found.notes == (f"{told}, but hidden_size is 64, not 384: not taken for it",)
    assert checkpoint.load(str(source), query_prompt="q: ").notes == ()
    (source / "modules.json").unlink()
    assert checkpoint.load(str(source)).similarity == "cosine"


def resize(source: Path, width: int) -> Path:
    """Let ``config.json`` say that the encoder has this width, as far as it is read without its weights."""
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "hidden_size": width}))
    return source


def test_a_model_trained_on_from_another_does_not_get_its_prompts(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = write_layout(Layout(USUAL, MEAN, config={"_name_or_path": "intfloat/e5-small-v2"}), make_checkpoint)
    (source / "README.md").write_text("---\nlicense: mit\nbase_model: intfloat/e5-small-v2\n---\n")
    found = checkpoint.load(str(source))
    assert found.prompts.texts == NONE
    assert found.source.license == "mit"
    assert 'pass --query-prompt "query: " --document-prompt "passage: "' in found.notes[0]
    (source / "README.md").write_text("---\nlicense: mit\n---\nbase_model: intfloat/e5-small-v2\n")
    resize(source, 384)
    assert checkpoint.load(str(source)).prompts.texts == E5


def test_a_guess_sets_no_similarity_where_modules_are_listed(make_checkpoint: MakeCheckpoint) -> None:
    listed = resize(write_layout(Layout(USUAL, MEAN), make_checkpoint, "contriever"), 768)
    assert checkpoint.load(str(listed)).similarity == "cosine"
    (listed / "modules.json").unlink()
    alone = checkpoint.load(str(listed))
    assert (alone.similarity, alone.head.normalize) == ("dot", False)
    assert "a guess" in alone.notes[0]


def test_a_model_in_the_hubs_cache_is_known_by_its_path(make_checkpoint: MakeCheckpoint) -> None:
    source = write_layout(Layout(USUAL, MEAN), make_checkpoint, f"models--intfloat--e5-base/snapshots/{'a' * 40}")
    found = checkpoint.load(str(source))
    assert (found.source.id, found.source.revision) == ("intfloat/e5-base", "a" * 40)
    assert found.prompts.origins["query"] == "known for intfloat/e5-base"


def test_another_owners_model_of_the_same_name_is_a_guess(make_checkpoint: MakeCheckpoint) -> None:
    source = write_layout(Layout(USUAL, MEAN), make_checkpoint, f"models--acme--e5-base/snapshots/{'a' * 40}")
    assert "a guess" in checkpoint.load(str(resize(source, 768))).prompts.origins["query"]


def test_prompts_that_the_pooling_leaves_out_are_dropped_where_they_are_not_used(
    make_checkpoint: MakeCheckpoint,
) -> None:
    files = {"1_Pooling/config.json": pooling("mean", include_prompt=False), SENTENCES: {"prompts": {"a": "a: "}}}
    found = checkpoint.load(str(write_layout(Layout(USUAL, files), make_checkpoint)))
    assert found.prompts.texts == NONE
    assert found.notes == ("prompt a is left out: the pooling leaves prompts out, embedge does not",)


def test_many_layers_are_counted_without_a_list_of_them(make_checkpoint: MakeCheckpoint) -> None:
    source = make_checkpoint()
    for layers, told in ((2**30, None), (10**30, "num_hidden_layers")):
        config = json.loads((source / "config.json").read_text()) | {"num_hidden_layers": layers}
        (source / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=told) if told else nullcontext():
            inspect(source)


def test_a_known_models_pickled_weights_have_no_pinned_hash(make_checkpoint: MakeCheckpoint) -> None:
    known = next(model for model in registry.known_models() if model.id == "intfloat/e5-small-v2")
    folder = make_checkpoint()
    assert find_known(known.id, "0" * 64, folder / "pytorch_model.bin", known.revision) == known
    with pytest.raises(CheckpointError, match="damaged or was replaced"):
        find_known(known.id, "0" * 64, folder / "model.safetensors", known.revision)


def test_a_tensor_of_a_thousand_dimensions_is_refused_at_once(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match="1000 dimensions"):
        read_safetensors(path)


def test_an_unsuitable_card_is_no_hindrance(tmp_path: Path) -> None:
    for text in (b"\xff\xfe", b"---", b"# base_model: a/b", b"---\nbase_model:\n- a/b\n---\n"):
        (tmp_path / "README.md").write_bytes(text)
        assert read_card(tmp_path).base_model == ("a/b" if text.startswith(b"---\n") else None)


def test_every_prompt_is_kept_by_its_name(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    told = {"query": "q: ", "clustering": "c: "}
    _, manifest = embed(Layout(USUAL, MEAN | {SENTENCES: {"prompts": told}}), make_checkpoint, tmp_path, "tiny")
    assert manifest.prompts == {**told, "document": ""}


def module(kind: str, path: str = "") -> dict[str, str]:
    return {"type": kind, "path": path}


ST = "sentence_transformers.models"
TRANSFORMER = module(f"{ST}.Transformer")
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("cross encoder", {"config.json": {"architectures": ["BertForSequenceClassification"]}}, "gives 2 scores"),
    ("splade", {"config.json": {"architectures": ["BertForMaskedLM"]}}, "predicts words"),
    ("code of its own", {"config.json": {"auto_map": {"AutoModel": "x.Y"}, "vocab_size": None}}, "auto_map"),
    ("decoder", {"config.json": {"is_decoder": True}}, "is_decoder"),
    ("pruned", {"config.json": {"pruned_heads": {"0": [1]}}}, "pruned_heads"),
    ("quantized", {"config.json": {"quantization_config": {"bits": 4}}}, "quantization_config"),
    ("two poolings", {"modules.json": [TRANSFORMER, *[module(f"{ST}.Pooling", "1_Pooling")] * 2]}, "chains"),
    ("normalize first", {"modules.json": [TRANSFORMER, module(f"{ST}.Normalize"), module(f"{ST}.Pooling")]}, "chains"),
    ("no pooling", {"modules.json": [TRANSFORMER]}, "chains a Transformer alone"),
    ("cnn", {"modules.json": [TRANSFORMER, module(f"{ST}.CNN", "1_CNN")]}, "CNN module"),
    ("splade pooling", {"modules.json": [module(f"{ST}.MLMTransformer")]}, "MLMTransformer module"),
    ("own pooling", {"modules.json": [TRANSFORMER, module("my_code.Pooling", "1_Pooling")]}, "my_code.Pooling is code"),
    ("outside", {"modules.json": [TRANSFORMER, module(f"{ST}.Pooling", "../1_Pooling")]}, "no folder"),
    ("absolute", {"modules.json": [TRANSFORMER, module(f"{ST}.Pooling", "/tmp")]}, "no folder"),
    ("pooling gone", {"modules.json": [TRANSFORMER, module(f"{ST}.Pooling", "2_Pooling")]}, "2_Pooling"),
    (
        "include_prompt",
        {"1_Pooling/config.json": pooling("mean", include_prompt=False), SENTENCES: {"prompts": {"query": "q: "}}},
        "leaves prompts out",
    ),
    ("unknown default", {SENTENCES: {"prompts": {}, "default_prompt_name": "x"}}, "default_prompt_name"),
    ("unknown similarity", {SENTENCES: {"similarity_fn_name": "jaccard"}}, "similarity_fn_name"),
    ("odd dimensions", {SENTENCES: {"truncate_dim": 0}}, "truncate_dim"),
    ("odd settings", {"sentence_bert_config.json": {"tokenizer_args": {"do_lower_case": True}}}, "do_lower_case"),
    ("unknown settings", {"sentence_bert_config.json": {"twice": True}}, "twice"),
    (
        "other output",
        {
            "sentence_bert_config.json": {
                "modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}
            }
        },
        "modality_config",
    ),
    ("adapter beside", {"adapter_config.json": {}}, "merge it"),
    ("odd kwargs", {"modules.json": [{**TRANSFORMER, "kwargs": 5}]}, "takes 5 from callers"),
    ("one name", {"modules.json": [{**TRANSFORMER, "name": "0"}, {**TRANSFORMER, "name": "0"}]}, "of one name"),
    ("other task", {"sentence_bert_config.json": {"transformer_task": "fill-mask"}}, "transformer_task"),
]


@pytest.mark.parametrize(("name", "files", "told"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_what_embedge_can_not_write_is_refused_in_one_sentence(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, files: dict[str, Any], told: str
) -> None:
    source = make_checkpoint()
    for path, content in files.items():
        if path == "config.json":
            content = {**json.loads((source / path).read_text()), **content}
        (source / path).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=told) as caught:
        export(source, tmp_path / "place" / "out", precision=["fp32"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "place").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"in_features": 63}, "in_features"),
        ({"out_features": 5}, "matrix"),
        ({"activation_function": "my_code.Act"}, "activation_function"),
        ({"activation_function": "torch.nnx.Tanh"}, "activation_function"),
        ({"module_input_name": "token_embeddings"}, "module_input_name"),
        ({"dropout": 1}, "dropout"),
    ],
)
def test_odd_dense_modules_are_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    source = write_layout(LAYOUTS["distiluse"], make_checkpoint)
    path = source / "2_Dense" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=told):
        export(source, tmp_path / "out", precision=["fp32"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dimension": 63}, "dimension is 63, what comes before gives 64"),
        ({"dimension": "64"}, "dimension is '64'"),
        ({"eps": 1e-3}, "does not know what eps changes"),
        ({"weights": {"norm.weight": np.ones(64, np.float32)}}, "a weight and a bias of 64 numbers"),
        ({"weights": dict.fromkeys(["norm.weight", "norm.bias"], np.full(64, np.nan, np.float32))}, "NaN"),
    ],
    ids=str,
)
def test_odd_layer_norms_are_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    source = write_layout(LAYOUTS["ance"], make_checkpoint)
    folder = source / "3_LayerNorm"
    if "weights" in change:
        save_file(change["weights"], folder / "model.safetensors")
    else:
        (folder / "config.json").write_text(json.dumps({"dimension": 64, **change}))
    with pytest.raises(CheckpointError, match=told) as caught:
        export(source, tmp_path / "out", precision=["fp32"])
    assert "3_LayerNorm" in str(caught.value)


def test_a_layer_norm_is_applied_where_it_stands(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    pooled, _ = embed(Layout(BARE, {"1_Pooling/config.json": pooling("cls")}), make_checkpoint, tmp_path, "pooled")
    found, _ = embed(LAYOUTS["ance"], make_checkpoint, tmp_path, "ance")
    dense, norm = dense_weights(64, 64, True), norm_weights(64)
    x = pooled.astype(np.float64) @ dense["linear.weight"].T + dense["linear.bias"]
    x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, x * norm["norm.weight"] + norm["norm.bias"], atol=1e-5)


def test_an_adapter_has_to_be_merged(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    (source / "config.json").rename(source / "adapter_config.json")
    with pytest.raises(CheckpointError, match="merge it"):
        export(source, tmp_path / "out")


def same_as_sentence_transformers(source: Path, place: Path, texts: list[str]) -> None:
    """Token ids, cosines, lengths, dimensions and the similarity of the fp32 bundle of ``source``."""
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    exported = export(source, place / "out", precision=["fp32"])
    assert exported.manifest.similarity == reference.similarity_fn_name
    assert exported.manifest.dimensions == reference.get_sentence_embedding_dimension()
    tokenizer = model_tokenizer(Bundle.open(exported.path))
    expected_ids = [reference.tokenize([text])["input_ids"][0].tolist() for text in texts]
    assert tokenizer.encode(texts).ids == expected_ids
    with Embedder.load(exported.path) as model:
        pairs = [
            (model.embed(texts), np.array([reference.encode_document(text) for text in texts])),
            (
                np.array([model.embed_query(text) for text in texts]),
                np.array([reference.encode_query(text) for text in texts]),
            ),
            (model.embed(texts, prompt=""), np.array([reference.encode(text, prompt="") for text in texts])),
        ]
    for found, expected in pairs:
        lengths = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
        assert ((found * expected).sum(axis=1) / lengths[0] / lengths[1]).min() >= 0.99999
        np.testing.assert_allclose(*lengths, rtol=1e-4)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
@pytest.mark.parametrize("name", LAYOUTS)
def test_vectors_are_those_of_sentence_transformers(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, passages: list[str], name: str
) -> None:
    texts = [*passages[:20], *TEXTS, "Été à la Façade, ÉTÉ", " ".join(passages[:8])]
    same_as_sentence_transformers(write_layout(LAYOUTS[name], make_checkpoint), tmp_path, texts)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
@pytest.mark.parametrize("name", ["distiluse", "LaBSE", "ance", "prompts", "all weights pickled"])
@pytest.mark.parametrize("model_type", ["distilbert", "roberta", "xlm-roberta"])
def test_vectors_of_other_encoders_are_those_of_sentence_transformers(
    tmp_path: Path, passages: list[str], model_type: str, name: str
) -> None:
    def make(folder: str, **config: Any) -> Path:
        return random_encoders.write(tmp_path / folder, model_type, passages, **config)

    texts = [*passages[:12], *TEXTS, "Été à la Façade, ÉTÉ", " ".join(passages[:8])]
    same_as_sentence_transformers(write_layout(LAYOUTS[name], make), tmp_path, texts)
