"""sentence-transformers' own export to OpenVINO. Runs in the environment `sentence-transformers`."""

import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer


def main(models: Path) -> None:
    model = SentenceTransformer(str(models / "checkpoint"), backend="openvino", device="cpu", local_files_only=True)
    model.save_pretrained(str(models / "st-openvino"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
