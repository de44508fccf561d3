"""OpenVINO on static int8 of NNCF, fed as embedge feeds its own: no padding, a text at a time on each thread."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from tokenizers import Tokenizer

from benchmarks.speed.contenders import Embed
from benchmarks.speed.contenders.settings import longest, pool, pools_mean

LABEL = "OpenVINO int8 (NNCF), unpadded"
ENVIRONMENT = "openvino"
PACKAGES = ("openvino", "tokenizers", "numpy")
FILES = ("openvino-int8/model.xml", "openvino-int8/model.bin", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files", "openvino_int8")
THREAD_SAFE = False


def load(models: Path, threads: int) -> Embed:
    core = openvino.Core()
    model = core.read_model(models / "openvino-int8" / "model.xml")
    latency = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads})
    request = latency.create_infer_request()
    tokenizer = Tokenizer.from_file(str(models / "checkpoint" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest(models))
    mean = pools_mean(models)
    queues: list[openvino.AsyncInferQueue] = []  # compiled when the first list comes, as embedge does

    def inputs(ids: list[int]) -> dict[str, Any]:
        row = np.array([ids])
        return {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}

    def vector(hidden: Any) -> Any:
        return pool(hidden, np.ones(hidden.shape[:2]), mean)[0]

    def embed(texts: list[str]) -> Any:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        if len(ids) == 1:
            return vector(request.infer(inputs(ids[0]))[0])[None]
        if not queues:
            options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
            queues.append(openvino.AsyncInferQueue(core.compile_model(model, "CPU", options), threads))
            queues[0].set_callback(lambda done, at: at[0].__setitem__(at[1], vector(done.get_output_tensor(0).data)))
        vectors = np.empty((len(ids), 384), np.float32)
        for index in sorted(range(len(ids)), key=lambda index: -len(ids[index])):
            queues[0].start_async(inputs(ids[index]), (vectors, index))
        queues[0].wait_all()
        return vectors

    return embed
