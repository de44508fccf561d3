"""What is timed on a GPU: the same checkpoint in float16, loaded as each project's documentation shows.

Each function takes a directory with ``checkpoint`` and ``bundle`` and a device (``cuda``, or ``cpu`` to try the code),
and returns what turns a list of texts, so many at a time, into vectors of length 1 in host memory.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[list[str], int], Any]
# What embedge takes at a time. sentence-transformers takes 32 texts by default, which leaves a GPU idle.
TOKENS_PER_BATCH = 16384


def embedge_fp16(models: Path, device: str) -> Embed:
    """All defaults."""
    from embedge import Embedder

    model = Embedder.load(models / "bundle", variant="fp16", providers=[device])
    return lambda texts, _: model.embed(texts)


def sentence_transformers(models: Path, device: str, *, attention: str, compiled: bool = False) -> Embed:
    """With the attention named; compiled by torch for any shape, or as it is."""
    import torch
    from sentence_transformers import SentenceTransformer

    settings = {"dtype": torch.float16, "attn_implementation": attention}
    model = SentenceTransformer(str(models / "checkpoint"), device=device, local_files_only=True, model_kwargs=settings)
    if compiled:
        model.compile(dynamic=True)
    return lambda texts, batch: model.encode(
        texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
    )


def ort_fused(models: Path, device: str) -> Embed:
    """ONNX Runtime's optimizer over torch's export; batches of texts as they come, CLS pooling."""
    import onnxruntime
    import torch
    from onnxruntime.transformers.optimizer import optimize_model
    from tokenizers import Tokenizer
    from transformers import AutoModel

    files = [str(models / f"{name}.onnx") for name in ("exported", "fused")]
    model = AutoModel.from_pretrained(models / "checkpoint", attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    example, names = torch.ones((2, 8), dtype=torch.int64), ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "hidden"]}
    torch.onnx.export(
        Hidden(), (example, example), files[0], input_names=names, output_names=["hidden"], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    config, gpu = model.config, device == "cuda"
    fused = optimize_model(files[0], "bert", config.num_attention_heads, config.hidden_size, opt_level=0, use_gpu=gpu)
    fused.convert_float_to_float16(keep_io_types=True)
    fused.save_model_to_file(files[1])
    if gpu:
        onnxruntime.preload_dlls()
    provider = "CUDAExecutionProvider" if gpu else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(files[1], providers=[provider], enable_fallback=0)
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} can't be had")
    tokenizer = Tokenizer.from_file(str(models / "checkpoint" / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(config.max_position_embeddings)

    def embed(texts: list[str], batch: int) -> Any:
        parts = []
        for start in range(0, len(texts), batch):
            encoded = tokenizer.encode_batch_fast(texts[start : start + batch])
            columns = [each.ids for each in encoded], [each.attention_mask for each in encoded]
            feed = dict(zip(names, map(np.array, columns), strict=True))
            first = session.run(["hidden"], feed)[0][:, 0]
            parts.append(first / np.linalg.norm(first, axis=1, keepdims=True))
        return np.concatenate(parts)

    return embed


CONTENDERS: dict[str, Callable[[Path, str], Embed]] = {
    "embedge_fp16": embedge_fp16,
    "ort_fused": ort_fused,
    "st_sdpa": partial(sentence_transformers, attention="sdpa"),
    "st_flash": partial(sentence_transformers, attention="flash_attention_2"),
    "st_compiled": partial(sentence_transformers, attention="sdpa", compiled=True),
}
