"""What tests run on: random checkpoints, and bundles that are kept between runs."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers
from safetensors.numpy import save_file

from embedge import Bundle, Embedder
from embedge.atomic import replace_directory
from embedge.engine.capabilities import Capabilities
from embedge.engine.choose import choose
from embedge.engine.ort import CPU, onnxruntime
from embedge_export import export, pipeline
from embedge_export.graph import kernels
from embedge_export.graph.builder import KERNELS
from embedge_export.quantize.calibration import calibration_ids

ROOT = Path(__file__).parents[1]

MakeCheckpoint = Callable[..., Path]
"""``make_checkpoint(name, pooling="cls", **config)``, see the fixture."""

FORMS = {
    "signed": Capabilities(exact_u8s8=True, kernels=False),
    "unsigned": Capabilities(exact_u8s8=False, kernels=False),
}
"""What a machine has to be for int8 weights to be taken so. The first is wrong where the CPU's kernels saturate."""

_MADE_BY = (np, onnx, onnxruntime, tokenizers)
# What decides a bundle's bytes; the rest of the runtime only reads it.
_SOURCES = [ROOT / "export", *(ROOT / "runtime" / "embedge" / name for name in ("manifest.py", "fingerprint.py"))]


def kept_bundle(kept: Path, name: str, checkpoint: Path, precision: Sequence[str], *, briefly: bool = False) -> Path:
    """The bundle of ``checkpoint``, made once for the present sources and kept in the directory ``kept``."""
    digest = hashlib.sha256(str([package.__version__ for package in _MADE_BY]).encode())
    for path in sorted(path for source in [*_SOURCES, checkpoint] for path in [source, *source.rglob("*")]):
        if path.suffix in (".py", ".txt", ".json", ".safetensors") and path.parent.name not in ("page", "targets"):
            digest.update(path.read_bytes())
    place = kept / f"{name}-{digest.hexdigest()[:16]}"
    with (kept / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            for old in kept.glob(f"{name}-*"):
                shutil.rmtree(old)
            with pytest.MonkeyPatch.context() as patch, replace_directory(place) as directory:
                if briefly:
                    calibrate_briefly(patch)
                export(checkpoint, directory / "bundle", precision=precision)
    return place / "bundle"


def start_form(bundle: Path, form: str, *, threads: int = 1) -> Embedder:
    """int8 with its weights taken in one of :data:`FORMS`, whatever this CPU is."""
    opened = Bundle.open(bundle)
    return Embedder.start(opened, choose(opened.manifest.variants, "int8", CPU, FORMS[form]), threads=threads)


def calibrate_briefly(patch: pytest.MonkeyPatch) -> None:
    """Random weights are all alike, and are calibrated as well on few texts, in a tenth of the time."""
    patch.setattr(pipeline, "calibration_ids", lambda *given, **options: calibration_ids(*given, **options)[::8])


def assert_graphs_are_valid(bundle: Path) -> None:
    """ONNX's checker has nothing against them; token ids go in, and vectors come out."""
    paths = sorted(bundle.glob("*.onnx"))
    assert paths
    for path in paths:
        onnx.checker.check_model(str(path))
        model = onnx.load(path, load_external_data=False)
        graph, domains = model.graph, [opset.domain for opset in model.opset_import]
        assert [value.name for value in graph.input] == (list(kernels.INPUTS) if KERNELS in domains else ["input_ids"])
        assert [value.name for value in graph.output] == ["embedding"]


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


def run_script(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process group of its own, all of which ends with a call that takes too long."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("hangs")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def listing(directory: Path) -> list[str]:
    """Names of what lies in a directory, hidden files too."""
    return sorted(path.name for path in directory.iterdir())


def in_own_mounts(mount: str, then: str, arguments: list[object]) -> subprocess.CompletedProcess[str]:
    """Run ``then`` in a shell that sees the file systems that ``mount`` mounts; they are gone when it ends."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: not Linux")
    script = f"({mount}) || exit 77\n{then}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *map(str, arguments)], capture_output=True, text=True, timeout=100
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    return done
