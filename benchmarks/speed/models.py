"""What the contenders load, under `.bench/models`: made from one checkpoint, each by its own project's tools."""

import hashlib
import os
import shutil
from pathlib import Path

from benchmarks.checkpoints import write_bge_small, write_minilm, write_reranker
from benchmarks.speed.environments import BENCH, Unavailable, python_of, requirements_of, run
from embedge_export import export

_HERE = Path(__file__).parent
CHECKPOINTS = {"bge-small": write_bge_small, "minilm": write_minilm, "reranker": write_reranker}
# Step: (environment, what it writes). embedge's own bundle is made by what runs this.
_STEPS = {
    "onnx_files": ("optimum", ("onnx", "onnx-dynamic", "onnx-vnni", "fastembed-fp32", "fastembed-int8")),
    "openvino_int8": ("nncf", ("openvino-int8",)),
    "st_openvino": ("sentence-transformers", ("st-openvino",)),
    "gguf_file": ("optimum", ("gguf",)),
    "reranker_onnx": ("optimum", ("fastembed-reranker",)),
}


def prepare(checkpoint: str, steps: set[str]) -> tuple[Path, dict[str, str]]:
    """The directory of ``checkpoint``'s files, and for each of ``steps`` that failed the reason."""
    place = BENCH / "models" / checkpoint
    failed = {}
    if not (place / "checkpoint").is_dir():
        shutil.rmtree(place, ignore_errors=True)
        CHECKPOINTS[checkpoint](place / "new")
        (place / "new").rename(place / "checkpoint")
    # Always anew: it changes with the code that is measured.
    print(f"preparing {checkpoint}: bundle", flush=True)
    export(place / "checkpoint", place / "bundle", precision=["int8", "fp32"], force=True)
    for step, (environment, outputs) in _STEPS.items():
        done, script = place / f".{step}.done", _HERE / "prepare" / f"{step}.py"
        inputs = (script, _HERE / "texts.py", _HERE.parent / "checkpoints.py", requirements_of(environment))
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
        if step not in steps or (done.is_file() and done.read_text() == digest):
            continue
        print(f"preparing {checkpoint}: {step}", flush=True)
        for output in outputs:
            shutil.rmtree(place / output, ignore_errors=True)
        try:
            run([python_of(environment), script, place], env={**os.environ, "HF_HUB_OFFLINE": "1"})
        except Unavailable as exc:
            failed[step] = str(exc)
        else:
            done.write_text(digest)
    return place, failed
