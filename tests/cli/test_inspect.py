"""``embedge inspect``: what a checkpoint is, before anything is written."""

import json
from dataclasses import replace
from pathlib import Path

from embedge_export import export, inspect
from tests.cases import MakeCheckpoint
from tests.cli.running import Cli
from tests.layouts import LAYOUTS, write_layout


def test_inspect_says_what_an_export_would_make(make_checkpoint: MakeCheckpoint, cli: Cli, tmp_path: Path) -> None:
    source = write_layout(LAYOUTS["prompts"], make_checkpoint, "e5-small-v2")
    before = sorted(tmp_path.rglob("*"))
    assert cli("inspect", "--json", source) == 0
    assert sorted(tmp_path.rglob("*")) == before
    found = json.loads(cli.out)
    manifest = export(source, tmp_path / "out", precision=["fp32"]).manifest
    assert found["prompts"] == manifest.prompts
    for name in ("dimensions", "max_tokens", "pooling", "normalized", "similarity", "default_prompt"):
        assert found[name] == getattr(manifest, name), name
    assert found["dtypes"] == ["float32"]
    assert found["route"] == "hand-written graph"


def test_inspect_for_people(make_checkpoint: MakeCheckpoint, cli: Cli) -> None:
    config = {"hidden_size": 384, "num_hidden_layers": 1}
    layout = replace(LAYOUTS["distiluse"], dense=(("2_Dense", 384, 32, "activation.Tanh", True),), config=config)
    assert cli("inspect", write_layout(layout, make_checkpoint, "multilingual-e5-small")) == 0
    rows = dict(line.split(maxsplit=1) for line in cli.out.splitlines() if not line.startswith(("query", "document")))
    assert rows["head"] == "Dense, width 32"
    assert rows["normalised"] == "no"
    assert "query prompt" in cli.out
    assert "a guess, since it is called like intfloat/multilingual-e5-small" in cli.out


def test_a_layer_norm_behind_the_pooling_is_shown(make_checkpoint: MakeCheckpoint, cli: Cli) -> None:
    assert cli("inspect", write_layout(LAYOUTS["ance"], make_checkpoint, "tiny")) == 0
    head = [line.split(maxsplit=1)[1] for line in cli.out.splitlines() if line.startswith("head")]
    assert head[-1] == "LayerNorm"


def test_the_size_of_the_bundle_is_near(minilm: Path, bundle: Path) -> None:
    expected = inspect(minilm).bundle
    assert expected is not None
    files = ("manifest.json", "tokenizer.json", "model.int8.onnx", "model.int8-unsigned.onnx", "model.int8.bin")
    size = sum((bundle / name).stat().st_size for name in files)
    assert 0.97 < expected / size < 1.03


def test_what_can_not_be_exported_can_not_be_inspected(make_checkpoint: MakeCheckpoint, cli: Cli) -> None:
    source = make_checkpoint(architectures=["BertForSequenceClassification"])
    assert cli("inspect", source) == 1
    assert "gives 2 scores" in cli.err
