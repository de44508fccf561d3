"""What one long text takes: its time, and how much memory is needed beside what a short one needs."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.memory import forget_peak, peak_mb, resident_mb
from benchmarks.speed import texts
from embedge import Embedder

# Long enough that the session that long texts run on is there.
_SHORT = 128


def measure(bundle: Path, lengths: Sequence[int]) -> list[dict[str, float]]:
    """For one text of each length in tokens, in a process of its own: ms, MB that it adds, and MB that stay."""
    rows = []
    for tokens in lengths:
        command = [sys.executable, "-m", "benchmarks.long_texts", str(bundle), str(tokens)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        rows.append(json.loads(output.splitlines()[-1]))
    return rows


def _embed(bundle: Path, tokens: int) -> dict[str, float]:
    with Embedder.load(bundle, variant="int8") as model:
        model.embed([texts.text_of(_SHORT, 0)])
        before = resident_mb()
        forget_peak()
        start = time.perf_counter()
        model.embed([texts.text_of(tokens, 0)])
        seconds = time.perf_counter() - start
        return {
            "tokens": tokens,
            "ms": round(1e3 * seconds, 1),
            "added_mb": round(peak_mb() - before, 1),
            "kept_mb": round(resident_mb() - before, 1),
        }


if __name__ == "__main__":
    print(json.dumps(_embed(Path(sys.argv[1]), int(sys.argv[2]))))
