"""Encoders of other families, and traced graphs: their vectors are those that sentence-transformers gives.

`make parity` has torch, transformers, optimum and sentence-transformers, and runs these tests.
"""

import json
import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from embedge import Bundle, CheckpointError, Embedder, ExportError, FidelityError
from embedge.cli import main
from embedge_export import Exported, export
from embedge_export.measure import cosines
from tests import random_encoders
from tests.cases import MakeCheckpoint, assert_graphs_are_valid, calibrate_briefly
from tests.layouts import LAYOUTS, write_large_channels, write_layout

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # torch warns of its own future

MakeEncoder = Callable[..., Path]


@pytest.fixture
def make_encoder(tmp_path: Path, passages: list[str], monkeypatch: pytest.MonkeyPatch) -> MakeEncoder:
    calibrate_briefly(monkeypatch)

    def make(model_type: str) -> Path:
        return random_encoders.write(tmp_path / model_type, model_type, passages)

    return make


ROUTES = [
    *((kind, "optimum", "mean") for kind in random_encoders.SIZES),
    *((kind, "auto", "mean") for kind in random_encoders.HAND_WRITTEN),
    *((kind, "optimum", "cls") for kind in ("distilbert", "modernbert", "mpnet", "roberta")),
    *((kind, "auto", "cls") for kind in ("distilbert", "mpnet", "roberta")),
]


@pytest.mark.parametrize(("model_type", "via", "pooling"), ROUTES)
def test_vectors_are_those_of_sentence_transformers(
    make_encoder: MakeEncoder, tmp_path: Path, passages: list[str], model_type: str, via: Any, pooling: Any
) -> None:
    source = make_encoder(model_type)
    exported = export(source, tmp_path / "out", precision=["int8", "fp32"], via=via, pooling=pooling)
    written = via == "auto" and model_type in random_encoders.HAND_WRITTEN
    assert ("traced" in exported.manifest.variants["fp32"].recipe) != written
    assert exported.manifest.max_tokens == random_encoders.LONGEST
    padding = "<pad>" if "<pad>" in (source / "tokenizer.json").read_text() else "[PAD]"
    texts = [*passages[:40], "", "edge", " ".join(passages[:9]), f"a {padding} within", f"{padding}{padding} before"]
    assert_same_vectors(source, exported, texts, pooling)
    assert_same_bits_in_every_batch(exported, texts)


def test_int8_of_a_traced_encoder_has_the_dense_module_too(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = write_large_channels(write_layout(LAYOUTS["LaBSE"], make_checkpoint))
    exported = export(source, tmp_path / "out", precision=["int8", "fp32"], via="optimum")
    measured = exported.manifest.measured.variants["int8"]
    assert measured.batch_invariant
    assert measured.fidelity.mean_cosine > 0.9995


def test_minilm_written_by_hand_and_traced_agree(
    minilm: Path, bundle: Path, tmp_path: Path, passages: list[str]
) -> None:
    exported = export(minilm, tmp_path / "out", precision=["int8", "fp32"], via="optimum")
    with (
        Embedder.load(bundle, variant="fp32") as written,
        Embedder.load(tmp_path / "out", variant="fp32") as traced,
        Embedder.load(tmp_path / "out", variant="int8") as int8,
    ):
        vectors = traced.embed(passages)
        assert cosines(written.embed(passages), vectors).min() >= 0.999999
        assert cosines(int8.embed(passages), vectors).mean() >= 0.9995
    long = [" ".join(passages[start : start + 12]) for start in range(0, 48, 12)]
    assert_same_vectors(minilm, exported, [*passages[:100], *long, ""], "mean")
    assert_same_bits_in_every_batch(exported, [*passages[:60], *long])


def test_a_traced_bundle_needs_token_ids_only_and_is_small(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    export(make_encoder("electra"), tmp_path / "out", precision=["int8", "fp32"], pooling="mean")
    assert_graphs_are_valid(tmp_path / "out")
    sizes = [(tmp_path / "out" / f"model.{variant}.bin").stat().st_size for variant in ("int8", "fp32")]
    assert sizes[0] < 0.35 * sizes[1]


def test_tracing_twice_gives_the_same_bytes(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    source = make_encoder("mpnet")
    for name in ("first", "second"):
        export(source, tmp_path / name, precision=["int8", "fp32"], pooling="mean")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


# Fusions


def test_the_report_counts_the_operators(
    make_encoder: MakeEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = make_encoder("distilbert"), tmp_path / "out"
    exported = export(source, out, precision=["fp32"], via="optimum", pooling="mean")
    assert exported.operators["MultiHeadAttention"] == exported.operators["Gelu"] == 2
    assert exported.operators["LayerNormalization"] == 5
    assert "SkipLayerNormalization" not in exported.operators
    arguments = ["--via", "optimum", "--pooling", "mean", "--force", "--precision", "fp32"]
    assert main(["export", str(source), str(out), *arguments]) == 0
    assert "2 MultiHeadAttention" in capsys.readouterr().out


def test_the_page_about_a_traced_model_has_operators_and_no_layers(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    source = make_encoder("mpnet")
    export(source, tmp_path / "out", pooling="mean", report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "transformers in PyTorch" in page
    assert "MatMulIntegerToFloat" in page
    assert "Error of each layer" not in page


def test_a_fusion_that_is_fast_is_made(
    make_encoder: MakeEncoder, tmp_path: Path, passages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement is replaced, since the installed ONNX Runtime decides it one way only."""
    monkeypatch.setattr("embedge_export.traced.fusion.skip_layer_norm_is_fast", lambda: True)
    source = make_encoder("roberta")
    exported = export(source, tmp_path / "out", precision=["fp32"], via="optimum", pooling="mean")
    assert exported.operators["SkipLayerNormalization"] == 4
    assert_same_vectors(source, exported, passages[:20], "mean")


@pytest.mark.parametrize(
    ("model_type", "step", "operator"),
    [
        ("roberta", "fuse_attention", "MultiHeadAttention"),
        ("roberta", "fuse_gelu", "Gelu"),
        ("mpnet", "fuse_gelu", "Gelu"),
    ],
)
def test_a_fusion_that_did_not_happen_fails_the_export(
    make_encoder: MakeEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model_type: str,
    step: str,
    operator: str,
) -> None:
    from onnxruntime.transformers import optimizer

    monkeypatch.setattr(optimizer.BertOnnxModel, step, lambda self: None)
    with pytest.raises(ExportError, match=f"0 instead of 2 {operator}"):
        export(make_encoder(model_type), tmp_path / "out", via="optimum", pooling="mean")
    assert not (tmp_path / "out").exists()


def test_attention_has_no_padding_mask(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    """With one, the kernel for texts without padding is not taken."""
    export(make_encoder("roberta"), tmp_path / "out", precision=["fp32"], via="optimum", pooling="mean")
    nodes = onnx.load(tmp_path / "out" / "model.fp32.onnx", load_external_data=False).graph.node
    attentions = [node for node in nodes if node.op_type == "MultiHeadAttention"]
    assert len(attentions) == 2
    assert not any("".join(node.input[4:]) for node in attentions)


def test_a_mask_that_the_tokens_decide_stays(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    from embedge_export.traced import rewrite

    export(make_encoder("roberta"), tmp_path / "out", precision=["fp32"], via="optimum", pooling="mean")
    model = onnx.load(tmp_path / "out" / "model.fp32.onnx")
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["input_ids"], ["mask"], to=onnx.TensorProto.INT32))
    for node in model.graph.node:
        if node.op_type == "MultiHeadAttention":
            node.input[4] = "mask"
    kept = [node for node in rewrite.read(model).nodes if node.op_type == "MultiHeadAttention"]
    assert [node.input[4] for node in kept] == ["mask", "mask"]


# What can't be traced


def test_a_traced_graph_that_gives_other_vectors_is_not_written(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a Flaubert does, whose trace holds the length of the text that it was traced with."""
    monkeypatch.setattr("embedge_export.traced.rewrite._FILLED", {"attention_mask": 1, "token_type_ids": 1})
    source = make_encoder("bert")
    with pytest.raises(FidelityError, match="transformers in PyTorch"):
        export(source, tmp_path / "out", via="optimum", pooling="mean")
    assert not (tmp_path / "out").exists()


def test_a_bigbird_of_blocks_is_refused(passages: list[str], tmp_path: Path) -> None:
    source = random_encoders.write(tmp_path / "big_bird", "big_bird", passages, attention_type="block_sparse")
    with pytest.raises(CheckpointError, match="block-sparse attention can't be traced"):
        export(source, tmp_path / "out", pooling="mean")


def test_a_trace_that_is_wrong_for_long_texts_only_is_not_written(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embedge_export.traced.network import Traced

    original = Traced.embed
    monkeypatch.setattr(Traced, "embed", lambda self, texts: original(self, [ids[:60] for ids in texts]))
    with pytest.raises(FidelityError):
        export(make_encoder("mpnet"), tmp_path / "out", precision=["fp32"], pooling="mean")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(make_encoder: MakeEncoder, tmp_path: Path, number: float) -> None:
    """In a word that no text of the comparison has."""
    from safetensors.numpy import load_file, save_file

    source = make_encoder("mpnet")
    tensors = load_file(source / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][-1, 0] = number
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"word_embeddings\.weight holds NaN or infinity"):
        export(source, tmp_path / "out", pooling="mean")


def test_weights_that_are_too_many_are_named(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    source = make_encoder("mpnet")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.raises(CheckpointError, match=r"config.json does not call for, the first is .*layer\.1\."):
        export(source, tmp_path / "out", pooling="mean")


@pytest.mark.parametrize("via", ["auto", "optimum"])
def test_a_decoder_is_refused_both_ways(make_encoder: MakeEncoder, tmp_path: Path, via: Any) -> None:
    source = make_encoder("bert")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "is_decoder": True}))
    with pytest.raises(CheckpointError, match="a decoder is not supported"):
        export(source, tmp_path / "out", pooling="mean", via=via)


def test_an_extra_that_does_not_fit_together_is_told_of(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_encoder("mpnet")
    for name in ("embedge_export.traced.network", "embedge_export.traced.fusion"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "optimum.exporters.onnx", types.ModuleType("optimum.exporters.onnx"))
    with pytest.raises(ExportError, match=r"another version of optimum\.exporters\.onnx .*'embedge\[optimum\]'"):
        export(source, tmp_path / "out", pooling="mean")


def test_missing_weights_are_not_made_up(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    source = make_encoder("mpnet")
    tensors = load_file(source / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        export(source, tmp_path / "out", pooling="mean")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "transformers can't read"),
        ("unknown type", "transformers does not know model_type 'tomorrow'"),
        ("no type", r"transformers does not know model_type \['mpnet'\]"),
        ("code of its own", r"needs code that comes with it \(auto_map\), which embedge does not run"),
    ],
)
def test_what_transformers_can_not_read_is_said(
    make_encoder: MakeEncoder, tmp_path: Path, damage: str, message: str
) -> None:
    source = make_encoder("mpnet")
    config = json.loads((source / "config.json").read_text())
    if damage == "truncated":
        weights = source / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "no type":
        (source / "config.json").write_text(json.dumps({**config, "model_type": ["mpnet"]}))
    elif damage == "unknown type":
        (source / "config.json").write_text(json.dumps({**config, "model_type": "tomorrow"}))
    else:
        (source / "config.json").write_text(
            json.dumps({**config, "model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModel": "mine.M"}})
        )
        (source / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(CheckpointError, match=message) as caught:
        export(source, tmp_path / "out", pooling="mean")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_tracing_says_nothing_but_its_steps(
    make_encoder: MakeEncoder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import AutoModel

    source = make_encoder("deberta")
    AutoModel.from_pretrained(source).save_pretrained(source, max_shard_size="100KB")
    (source / "model.safetensors").unlink()
    before = logging.root.manager.disable, torch.is_grad_enabled()
    capfd.readouterr()
    export(source, tmp_path / "out", precision=["fp32"], pooling="mean")
    assert capfd.readouterr() == ("", "")
    assert (logging.root.manager.disable, torch.is_grad_enabled()) == before


def test_tracing_a_directory_asks_nothing_of_the_network(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        asked.append(arguments)
        raise OSError("no network")

    asked: list[Any] = []
    source = make_encoder("mpnet")
    monkeypatch.setattr("socket.socket.connect", fail)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    export(source, tmp_path / "out", precision=["fp32"], pooling="mean")
    assert asked == []


def assert_same_vectors(source: Path, exported: Exported, texts: list[str], pooling: str) -> None:
    """The fp32 bundle gives what sentence-transformers gives for ``source``, to a cosine of 0.99999 for every text."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer = Transformer(str(source), max_seq_length=exported.manifest.max_tokens)
    pool = Pooling(transformer.get_word_embedding_dimension(), pooling_mode=pooling)
    reference = SentenceTransformer(modules=[transformer, pool, Normalize()], device="cpu")
    expected = np.array([reference.encode(text, show_progress_bar=False) for text in texts])
    with Embedder.load(exported.path, variant="fp32") as model:
        assert cosines(model.embed(texts), expected).min() >= 0.99999


def assert_same_bits_in_every_batch(exported: Exported, texts: list[str]) -> None:
    """Where the manifest says so, which it does for all that were tried."""
    short = [" ".join(text.split()[:count]) for text in texts for count in (2, 5)]
    for name, measured in Bundle.open(exported.path).manifest.measured.variants.items():
        assert measured.batch_invariant
        with Embedder.load(exported.path, variant=name, threads=1) as single:
            expected = [single.embed([text])[0].tobytes() for text in [*short, *texts]]
        with Embedder.load(exported.path, variant=name, threads=2) as model:
            assert [vector.tobytes() for vector in model.embed([*short, *texts])] == expected
