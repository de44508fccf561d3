"""Checkpoints become bundles, or a clear error and nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from embedge import Bundle, CheckpointError, Embedder, ExportError, FidelityError
from embedge.cli import main
from embedge.engine import capabilities
from embedge_export import Exported, export, measure, quantize
from embedge_export.checkpoint import registry
from embedge_export.graph import probe
from embedge_export.graph.builder import GraphBuilder
from embedge_export.network import HandWritten
from embedge_export.quantize.calibration import verification_texts
from tests.cases import FORMS, MakeCheckpoint, assert_graphs_are_valid, random_weights


def test_the_result_tells_what_was_written(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    steps: list[str] = []
    exported = export(make_checkpoint(), tmp_path / "out", precision=["int8", "fp32"], on_step=steps.append)
    assert isinstance(exported, Exported)
    assert exported.path == tmp_path / "out"
    assert exported.bytes == sum(path.stat().st_size for path in exported.path.iterdir())
    assert set(exported.manifest.variants) == {"int8", "fp32"}
    assert exported.manifest.measured.variants["fp32"].fidelity.min_cosine >= 0.999999
    assert exported.manifest.measured.variants["int8"].fidelity.texts == len(verification_texts())
    assert len(steps) >= 4


def test_a_bundle_has_the_files_of_its_variants_and_no_others(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint(), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    graphs = {"model.int8.onnx", "model.int8-unsigned.onnx", "model.int8-kernels.onnx"}
    assert names == {"manifest.json", "tokenizer.json", *graphs, "model.int8.bin"}
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "out"}


def test_exporting_twice_gives_the_same_bytes(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    for name in ("first", "second"):
        export(source, tmp_path / name, precision=["int8", "fp32"])
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_cpus_with_other_instructions_write_the_same_files(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """Where numpy's BLAS and numpy itself can be told to take other kernels, as they do elsewhere."""
    source = make_checkpoint()
    code = "import sys; from embedge_export import export; export(*sys.argv[1:])"
    every_feature = "X86_V3 X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX512_SPR"
    for kernels, threads, features in (("Haswell", "2", ""), ("Nehalem", "1", every_feature)):
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernels, "NPY_DISABLE_CPU_FEATURES": features}
        environment["OPENBLAS_NUM_THREADS"] = threads
        command = [sys.executable, "-W", "ignore", "-c", code, str(source), str(tmp_path / kernels)]
        subprocess.run(command, env=environment, check=True)
    bundles = [Bundle.open(tmp_path / kernels) for kernels in ("Haswell", "Nehalem")]
    assert bundles[0].manifest.files == bundles[1].manifest.files
    assert bundles[0].manifest.identity() == bundles[1].manifest.identity()


def test_the_graph_is_valid_and_needs_input_ids_only(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint(), tmp_path / "out", precision=["int8", "fp32"])
    assert_graphs_are_valid(tmp_path / "out")


def test_the_manifest_says_where_bits_depend_on_the_batch(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_checkpoint()
    assert export(source, tmp_path / "same", precision=["fp32"]).manifest.measured.variants["fp32"].batch_invariant
    original = GraphBuilder.add

    def add(self: GraphBuilder, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        if name != "normalized":  # which becomes the output
            return original(self, kind, name, *inputs, **attributes)
        size = original(self, "Cast", "size", original(self, "Size", "count", "input_ids"), to=onnx.TensorProto.FLOAT)
        small = original(self, "Mul", "small", size, self.scalar(np.float32(1e-6)))
        return original(self, kind, name, original(self, "Add", "sum", *inputs, small), **attributes)

    monkeypatch.setattr(GraphBuilder, "add", add)
    depends = export(source, tmp_path / "depends", precision=["fp32"]).manifest.measured.variants["fp32"]
    assert not depends.batch_invariant
    for name, told in (("same", "same bits in every batch"), ("depends", "bits depend on the batch")):
        assert main(["info", str(tmp_path / name)]) == 0
        assert told in capsys.readouterr().out


def test_minilm_is_recognised_by_its_weights(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    assert manifest.source.id == "sentence-transformers/all-MiniLM-L6-v2"
    assert manifest.source.license == "apache-2.0"
    assert manifest.source.revision is not None


def test_minilms_fixed_padding_and_truncation_are_gone(minilm: Path, bundle: Path) -> None:
    before = json.loads((minilm / "tokenizer.json").read_text())
    assert before["padding"]["strategy"] == {"Fixed": 128}
    assert before["truncation"]["max_length"] == 128
    after = json.loads((bundle / "tokenizer.json").read_text())
    assert (after["padding"], after["truncation"]) == (None, None)
    assert Bundle.open(bundle).manifest.max_tokens == 256


def test_minilms_int8_is_nearly_its_fp32(bundle: Path, fp32: Embedder, passages: list[str]) -> None:
    with Embedder.load(bundle, variant="int8") as model:
        cosines = (model.embed(passages[:300]) * fp32.embed(passages[:300])).sum(axis=1)
    assert cosines.mean() >= 0.9995
    assert cosines.min() >= 0.998


def test_dead_channels_and_rows_of_zeros_are_quantized(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    tensors = load_file(source / "model.safetensors")
    tensors["encoder.layer.0.intermediate.dense.weight"][:5] = 0
    tensors["encoder.layer.0.attention.self.value.weight"][:] = 0
    tensors["encoder.layer.0.attention.self.value.bias"][:] = 0
    tensors["embeddings.word_embeddings.weight"][100:200] = 0
    tensors["encoder.layer.0.output.LayerNorm.weight"][3] = 0
    save_file(tensors, source / "model.safetensors")
    fidelity = export(source, tmp_path / "out").manifest.measured.variants["int8"].fidelity
    assert fidelity.min_cosine > 0.99


def test_the_probe_that_ships_is_the_one_that_is_written(tmp_path: Path) -> None:
    probe.write(tmp_path / "probe.onnx")
    assert (tmp_path / "probe.onnx").read_bytes() == Path(capabilities.__file__).with_name("probe.onnx").read_bytes()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling_is_read_from_the_checkpoint(make_checkpoint: MakeCheckpoint, tmp_path: Path, pooling: str) -> None:
    exported = export(make_checkpoint(pooling=pooling), tmp_path / "out")
    assert exported.manifest.pooling == pooling


def test_pooling_in_the_newer_form_is_read_too(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    (source / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 64, "pooling_mode": "mean"}')
    assert export(source, tmp_path / "out").manifest.pooling == "mean"


def test_options_win_over_the_checkpoint(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint(pooling="cls")
    prompts = {"prompts": {"query": "theirs: ", "passage": "text: "}}
    (source / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    own = export(source, tmp_path / "own").manifest
    assert (own.prompts["query"], own.prompts["document"]) == ("theirs: ", "text: ")
    given = export(source, tmp_path / "given", pooling="mean", query_prompt="mine: ", max_tokens=32).manifest
    assert (given.pooling, given.prompts["query"], given.max_tokens) == ("mean", "mine: ", 32)
    assert given.prompts["document"] == "text: "


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 1},
        {"num_attention_heads": 1},
        {"num_attention_heads": 8, "hidden_size": 48, "intermediate_size": 40},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu"},
        {"max_position_embeddings": 40},
        {"type_vocab_size": 1},
        {"layer_norm_eps": 1e-5},
        {"vocab_size": 30600},
    ],
    ids=str,
)
def test_any_bert_architecture(make_checkpoint: MakeCheckpoint, tmp_path: Path, changes: dict[str, Any]) -> None:
    """The export compares the fp32 graph with the equations in numpy, and fails where they differ."""
    for pooling in ("cls", "mean"):
        exported = export(make_checkpoint(pooling, pooling, **changes), tmp_path / f"out-{pooling}", precision=["fp32"])
        assert exported.manifest.measured.variants["fp32"].fidelity.min_cosine >= 0.999999
        assert exported.manifest.max_tokens == changes.get("max_position_embeddings", 512)


def test_weights_in_half_precision_shards_and_with_a_prefix(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    plain, other = make_checkpoint("plain"), make_checkpoint("other")
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(other / "model.safetensors").items()}
    halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    (other / "model.safetensors").unlink()
    names = sorted(halves)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, members in shards.items():
        save_file({name: halves[name] for name in members}, other / file)
    index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
    (other / "model.safetensors.index.json").write_text(json.dumps(index))
    for source in (plain, other):
        export(source, tmp_path / f"{source.name}-out", precision=["fp32"])
    with Embedder.load(tmp_path / "plain-out") as a, Embedder.load(tmp_path / "other-out") as b:
        assert (a.embed(["half precision"]) * b.embed(["half precision"])).sum() > 0.9999


def test_a_lower_casing_checkpoint_lower_cases(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """sentence-transformers lower-cases by `do_lower_case` itself, whatever the tokenizer does."""
    source = make_checkpoint()
    fields = json.loads((source / "tokenizer.json").read_text())
    fields["normalizer"]["lowercase"] = False
    (source / "tokenizer.json").write_text(json.dumps(fields))
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": true}')
    export(source, tmp_path / "out", precision=["fp32"])
    with Embedder.load(tmp_path / "out") as model:
        assert model.embed(["HELLO World"]).tobytes() == model.embed(["hello world"]).tobytes()


BAD_CONFIGS = [
    ({"is_decoder": True}, "decoder"),
    ({"vocab_size": None}, "vocab_size is None"),
    ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
    ({"num_attention_heads": 5}, "divided among 5 heads"),
    ({"num_hidden_layers": "two"}, "num_hidden_layers is 'two'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CONFIGS, ids=str)
def test_what_can_not_be_written_is_said(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    source = make_checkpoint()
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **change}))
    assert_fails(source, tmp_path, CheckpointError, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mpnet"}, "model_type 'mpnet'"),
        ({"hidden_act": "silu"}, "activation 'silu'"),
        ({"hidden_act": ["gelu"]}, "activation"),
        ({"position_embedding_type": "relative_key"}, "position embeddings of type 'relative_key'"),
    ],
    ids=str,
)
def test_what_is_not_written_by_hand_needs_an_extra_that_is_named(
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.delitem(sys.modules, "embedge_export.traced.network", raising=False)
    monkeypatch.setitem(sys.modules, "embedge_export.traced.fusion", None)  # where the extra is installed after all
    source = make_checkpoint()
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **change}))
    assert_fails(source, tmp_path, ExportError, rf"{message}.*pip install 'embedge\[optimum\]'")


def missing(tensors: dict[str, Any]) -> None:
    del tensors["encoder.layer.1.output.dense.weight"]


def misshapen(tensors: dict[str, Any]) -> None:
    tensors["encoder.layer.0.output.dense.bias"] = np.zeros(63, np.float32)


def not_finite(tensors: dict[str, Any]) -> None:
    tensors["encoder.layer.0.attention.self.key.weight"][3, 5] = np.nan


def infinite(tensors: dict[str, Any]) -> None:
    tensors["embeddings.word_embeddings.weight"][-1, -1] = np.inf


def unknown(tensors: dict[str, Any]) -> None:
    tensors["encoder.layer.0.attention.self.distance_embedding.weight"] = np.zeros((3, 3), np.float32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing, "no tensor encoder.layer.1.output.dense.weight"),
        (misshapen, r"encoder.layer.0.output.dense.bias has shape \(63,\)"),
        (not_finite, "encoder.layer.0.attention.self.key.weight holds NaN or infinity"),
        (infinite, "embeddings.word_embeddings.weight holds NaN or infinity"),
        (unknown, "the first is encoder.layer.0.attention.self.distance_embedding.weight"),
    ],
)
def test_bad_weights_are_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    source = make_checkpoint()
    tensors = random_weights(json.loads((source / "config.json").read_text()))
    damage(tensors)
    save_file(tensors, source / "model.safetensors")
    assert_fails(source, tmp_path, CheckpointError, message)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no model.safetensors"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("1_Pooling/config.json", "pass pooling, such as 'cls' or 'mean'"),
    ],
)
def test_missing_files_are_named(make_checkpoint: MakeCheckpoint, tmp_path: Path, file: str, message: str) -> None:
    source = make_checkpoint()
    (source / file).unlink()
    assert_fails(source, tmp_path, CheckpointError, message)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"])
def test_damaged_files_are_named(make_checkpoint: MakeCheckpoint, tmp_path: Path, file: str) -> None:
    source = make_checkpoint()
    path = source / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert_fails(source, tmp_path, CheckpointError, Path(file).name)


def test_a_tokenizer_of_another_model_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    assert_fails(make_checkpoint(vocab_size=1000), tmp_path, CheckpointError, "wrong tokenizer")


def test_other_pooling_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode": "median"}')
    assert_fails(source, tmp_path, CheckpointError, "'median' pooling")


def test_a_known_models_hash_must_match(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download is replaced by a directory here; the stand-in hub of the command line's tests has it whole."""
    source, known = make_checkpoint(), registry.known_models()[0]
    monkeypatch.setattr("embedge_export.checkpoint.sources.fetch", lambda *_: (source, known.revision))
    assert_fails(Path(known.id), tmp_path, CheckpointError, known.sha256)


def test_a_bundle_that_misses_its_fidelity_is_not_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = quantize.int8

    def broken(*arguments: Any) -> Any:
        quantized, head = original(*arguments)
        quantized.layers[0].qkv.codes[:] = 0
        quantized.layers[1].output.codes[:] *= -1
        return quantized, head

    monkeypatch.setattr(quantize, "int8", broken)
    assert_fails(make_checkpoint(), tmp_path, FidelityError, "int8 has cosines")


def test_a_graph_that_gives_other_vectors_than_its_sibling_is_not_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the unsigned graph is measured first, which every CPU runs right, and the signed one is a stranger's."""
    original: Any = HandWritten.author

    def author(self: HandWritten, *, unsigned: bool = False) -> GraphBuilder:
        right = unsigned or isinstance(self.encoder.words, np.ndarray)
        encoder = self.encoder if right else replace(self.encoder, epsilon=0.1)
        written: GraphBuilder = original(replace(self, encoder=encoder), unsigned=unsigned)
        return written

    monkeypatch.setattr(HandWritten, "author", author)
    monkeypatch.setattr(measure, "capabilities", lambda: FORMS["signed"])
    choices = measure.choices
    monkeypatch.setattr(measure, "choices", lambda bundle, name: choices(bundle, name)[::-1])
    assert_fails(make_checkpoint(), tmp_path, FidelityError, "model.int8.onnx gives other vectors")


def test_a_graph_that_this_cpu_does_not_run_is_loaded_at_least(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = HandWritten.author

    def author(self: HandWritten, *, unsigned: bool = False) -> GraphBuilder:
        written: GraphBuilder = original(self, unsigned=unsigned)
        if not (unsigned or isinstance(self.encoder.words, np.ndarray)):
            written.add("NoSuchOperator", "odd", "embedding")
        return written

    monkeypatch.setattr(HandWritten, "author", author)
    monkeypatch.setattr(measure, "capabilities", lambda: FORMS["unsigned"])
    assert_fails(make_checkpoint(), tmp_path, FidelityError, "model.int8.onnx does not load")


def test_existing_out_is_left_alone(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(ExportError, match="exists"):
            export(source, tmp_path / "out", force=force)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_force_replaces_a_bundle(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint("first"), tmp_path / "out")
    export(make_checkpoint("second", pooling="mean"), tmp_path / "out", force=True)
    assert Bundle.open(tmp_path / "out").manifest.source.id == "second"
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second", "out"}


@pytest.mark.parametrize("precision", [[], ["int4"], ["int8", "fp64"]])
def test_unknown_precisions_are_named(make_checkpoint: MakeCheckpoint, tmp_path: Path, precision: list[str]) -> None:
    with pytest.raises(ValueError, match="int8, fp16, fp32"):
        export(make_checkpoint(), tmp_path / "out", precision=precision)


@pytest.mark.parametrize("tokens", [2, 513])
def test_max_tokens_must_fit_the_positions(make_checkpoint: MakeCheckpoint, tmp_path: Path, tokens: int) -> None:
    with pytest.raises(CheckpointError, match="3 to 512"):
        export(make_checkpoint(), tmp_path / "out", max_tokens=tokens)


def test_bge_small_fits_in_35_megabytes(bge_small: Path) -> None:
    """Both graphs of int8 share its weights."""
    assert sum(path.stat().st_size for path in bge_small.iterdir() if path.name != ".verified") <= 35.2e6


def test_the_registry_is_complete() -> None:
    models = registry.known_models()
    assert {"BAAI/bge-small-en", "BAAI/bge-small-en-v1.5", "sentence-transformers/all-MiniLM-L6-v2"} <= {
        model.id for model in models
    }
    for model in models:
        assert len(model.sha256) == 64
        assert len(model.revision) == 40
        assert registry.find_family(model.id)


def assert_fails(source: Path, tmp_path: Path, error: type[Exception], message: str) -> None:
    """``export`` raises one line with ``message``, and leaves nothing behind."""
    out = tmp_path / "place" / "out"
    with pytest.raises(error, match=message) as caught:
        export(source, out)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


ODD_FILES = [
    ("config.json", "[1]"),
    ("config.json", "null"),
    ("config.json", {"layer_norm_eps": None}),
    ("config.json", {"layer_norm_eps": "abc"}),
    ("modules.json", '["x"]'),
    ("modules.json", '{"a": 1}'),
    ("1_Pooling/config.json", "[1]"),
    ("1_Pooling/config.json", '{"pooling_mode_mean_tokens": true, "pools_twice": true}'),
    ("sentence_bert_config.json", "[]"),
    ("sentence_bert_config.json", '{"max_seq_length": "128"}'),
    ("sentence_bert_config.json", '{"max_seq_length": -5}'),
    ("sentence_bert_config.json", '{"max_seq_length": 2}'),
    ("config_sentence_transformers.json", '{"prompts": ["a"]}'),
    ("config_sentence_transformers.json", '{"prompts": {"query": "\\ud800"}}'),
    ("tokenizer.json", "[1]"),
    ("tokenizer.json", {"model": None}),
    ("tokenizer.json", {"post_processor": None}),
]


@pytest.mark.parametrize(("file", "content"), ODD_FILES, ids=str)
def test_odd_files_are_named(make_checkpoint: MakeCheckpoint, tmp_path: Path, file: str, content: Any) -> None:
    path = make_checkpoint() / file
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_text(content)
    assert_fails(tmp_path / "tiny", tmp_path, CheckpointError, Path(file).name)


def test_the_hash_in_the_bundle_is_that_of_the_weights_in_it(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """A whole file and shards of another model side by side: the whole file is used."""
    source, other = make_checkpoint("source"), make_checkpoint("other", layer_norm_eps=0.1)
    tensors = {name: tensor * 2 for name, tensor in load_file(other / "model.safetensors").items()}
    save_file(tensors, source / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")}
    export(source, tmp_path / "before", precision=["fp32"])
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    export(source, tmp_path / "after", precision=["fp32"])
    assert (tmp_path / "after" / "model.fp32.bin").read_bytes() == (tmp_path / "before" / "model.fp32.bin").read_bytes()


def test_added_tokens_must_be_in_the_word_table(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    fields = json.loads((source / "tokenizer.json").read_text())
    fields["added_tokens"].append({**fields["added_tokens"][0], "id": 30522, "content": "<new>"})
    (source / "tokenizer.json").write_text(json.dumps(fields))
    assert_fails(source, tmp_path, CheckpointError, "30522")


@pytest.mark.parametrize(
    ("error", "options"),
    [(ValueError, {"pooling": "median"}), (TypeError, {"query_prompt": 5}), (TypeError, {"max_tokens": "5"})],
    ids=str,
)
def test_wrong_options_are_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, error: type[Exception], options: dict[str, Any]
) -> None:
    with pytest.raises(error, match=next(iter(options))):
        export(make_checkpoint(), tmp_path / "out", **options)


def test_a_directory_left_by_a_killed_export_is_not_in_the_way(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """In a container the process number is often the same again."""
    (tmp_path / f".out.{os.getpid()}.partial").mkdir()
    export(make_checkpoint(), tmp_path / "out")


def test_out_may_be_the_working_directory(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_checkpoint()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(source, ".", force=True)
    Bundle.open(tmp_path / "here").verify()
