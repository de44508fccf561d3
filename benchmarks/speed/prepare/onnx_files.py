"""fp32 ONNX by optimum's exporter, and the two usual int8 files made from it. Runs in the environment `optimum`."""

import shutil
import sys
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig


def main(models: Path) -> None:
    main_export(str(models / "checkpoint"), models / "onnx", task="feature-extraction", do_validation=False)
    dynamic = models / "onnx-dynamic"
    dynamic.mkdir()
    quantize_dynamic(models / "onnx" / "model.onnx", dynamic / "model.onnx", weight_type=QuantType.QInt8)
    quantizer = ORTQuantizer.from_pretrained(models / "onnx", file_name="model.onnx")
    preset = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    quantizer.quantize(save_dir=models / "onnx-vnni", quantization_config=preset)
    for name, graph in (("fastembed-fp32", models / "onnx" / "model.onnx"), ("fastembed-int8", dynamic / "model.onnx")):
        (models / name).mkdir()
        shutil.copy(graph, models / name / "model.onnx")
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(models / "checkpoint" / file, models / name / file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
