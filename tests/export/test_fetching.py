"""A checkpoint from a hub: which of its files are fetched, at which revision, and what works without the hub.

The hub's own client asks a stand-in on this machine.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub import Hub, environment, serve

UNREACHABLE = "http://127.0.0.1:9"
FETCH = """
import json, sys
from embedge.errors import CheckpointError
from embedge_export.checkpoint.sources import find

try:
    directory, model_id, revision = find(sys.argv[1])
except CheckpointError as exc:
    print(json.dumps({"error": str(exc)}))
else:
    files = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    print(json.dumps({"id": model_id, "revision": revision, "files": files}))
"""
SMALL = ["config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json", "vocab.txt"]


def fetch(source: str, endpoint: str, cache: Path, **variables: str) -> dict[str, object]:
    """What a new process finds: id, revision and files, or the error."""
    env = {**environment(endpoint, cache), **variables}
    command = [sys.executable, "-c", FETCH, source]
    done = subprocess.run(command, cwd=cache.parent, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def model(root: Path, *files: str) -> Path:
    """A directory with these files, which hold next to nothing."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"weight_map": {"x": "pytorch_model-00001-of-00001.bin"}}')
    return root


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        ("model.safetensors", "pytorch_model.bin onnx/model.safetensors openvino/openvino_model.bin"),
        ("model.safetensors.index.json model-00001-of-00001.safetensors", "pytorch_model.bin"),
        ("pytorch_model.bin", "tf_model.h5 modeling_own.py training_args.bin optimizer.bin"),
        ("pytorch_model.bin.index.json pytorch_model-00001-of-00001.bin", "rust_model.ot model.onnx"),
        (
            "0_Transformer/config.json 0_Transformer/sentence_distilbert_config.json 0_Transformer/model.safetensors",
            "0_Transformer/pytorch_model.bin 0_Transformer/tf_model.h5 0_Transformer/own.py",
        ),
        (
            "model.safetensors 2_Pooling/config.json 10_Dense/config.json 10_Dense/model.safetensors",
            "10_Dense/pytorch_model.bin 10_Dense/own.py 1_Own/config.json old/1_Pooling/config.json",
        ),
        ("pytorch_model.bin 2_Dense/config.json 2_Dense/pytorch_model.bin 3_Normalize/config.json", ".gitattributes"),
        (
            "model.safetensors sentence_bert_config.json sentence_roberta_config.json README.md "
            "config_sentence_transformers.json special_tokens_map.json added_tokens.json tokenizer_config.json "
            "adapter_config.json",
            "onnx/config.json sentencepiece.bpe.model",
        ),
    ],
    ids=["safetensors", "shards", "pickled", "pickled shards", "folder", "modules", "pickled modules", "settings"],
)
def test_what_a_checkpoint_needs_is_fetched_and_nothing_else(tmp_path: Path, wanted: str, others: str) -> None:
    with serve(model(tmp_path / "served", *SMALL, *wanted.split(), *others.split())) as hub:
        assert fetch("acme/tiny", hub, tmp_path / "cache") == {
            "id": "acme/tiny",
            "revision": Hub.revision,
            "files": sorted([*SMALL, *wanted.split()]),
        }


@pytest.mark.parametrize("source", ["acme/tiny", "acme/tiny@v1.0"])
@pytest.mark.parametrize("without", ["HF_HUB_OFFLINE", "a hub"])
def test_a_model_that_was_fetched_before_works_without_the_hub(tmp_path: Path, source: str, without: str) -> None:
    with serve(model(tmp_path / "served", *SMALL, "model.safetensors", "pytorch_model.bin")) as hub:
        found = fetch(source, hub, tmp_path / "cache")
        assert found["revision"] == Hub.revision
        offline = {"HF_HUB_OFFLINE": "1"} if without == "HF_HUB_OFFLINE" else {}
        assert fetch(source, hub if offline else UNREACHABLE, tmp_path / "cache", **offline) == found


def test_a_model_whose_weights_are_not_in_the_cache_is_not_taken_from_it(tmp_path: Path) -> None:
    with serve(model(tmp_path / "served", *SMALL)) as hub:
        fetch("acme/tiny", hub, tmp_path / "cache")
    assert "can't be fetched" in str(fetch("acme/tiny", UNREACHABLE, tmp_path / "cache")["error"])


def test_a_revision_that_the_hub_does_not_have_is_named(tmp_path: Path) -> None:
    with serve(model(tmp_path / "served", *SMALL, "model.safetensors")) as hub:
        error = fetch("acme/tiny@none", hub, tmp_path / "cache")["error"]
    assert error == "acme/tiny has no revision none on the hub"


def test_a_known_model_is_fetched_once_at_its_pinned_revision_and_at_another_one_when_named(tmp_path: Path) -> None:
    with serve(model(tmp_path / "served", *SMALL, "model.safetensors")) as hub:
        pinned = fetch("baai/bge-small-en", hub, tmp_path / "cache")
        named = fetch("BAAI/bge-small-en@main", hub, tmp_path / "cache")
    assert (pinned["id"], named["id"]) == ("BAAI/bge-small-en", "BAAI/bge-small-en")
    assert pinned["revision"] != named["revision"] == Hub.revision
    assert fetch("BAAI/bge-small-en", UNREACHABLE, tmp_path / "cache") == pinned
