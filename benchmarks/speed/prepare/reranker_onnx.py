"""fp32 ONNX of a reranker by optimum's exporter. Runs in the environment `optimum`."""

import shutil
import sys
from pathlib import Path

from optimum.exporters.onnx import main_export

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def main(models: Path) -> None:
    out = models / "fastembed-reranker"
    main_export(str(models / "checkpoint"), out, task="text-classification", do_validation=False)
    for file in _TOKENIZER:
        shutil.copy(models / "checkpoint" / file, out / file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
