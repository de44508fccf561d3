"""Static int8 by NNCF, calibrated on the half of the corpus that fidelity is not measured on. Environment `nncf`."""

import sys
from pathlib import Path

import nncf
import numpy as np
import openvino
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[3]))
from benchmarks.speed import texts


def main(models: Path) -> None:
    tokenizer = Tokenizer.from_file(str(models / "checkpoint" / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    rows = [np.array([encoding.ids]) for encoding in tokenizer.encode_batch(texts.calibration_texts())]
    inputs = [
        {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)} for row in rows
    ]
    model = nncf.quantize(
        openvino.convert_model(models / "onnx" / "model.onnx"),
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(inputs),
    )
    openvino.save_model(model, models / "openvino-int8" / "model.xml")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
