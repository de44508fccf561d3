"""Whether the file that `embedge convert` writes gives the library's bits on other CPUs, too, which qemu emulates.

``python -m benchmarks.edge.other_cpus BUNDLE`` writes ``benchmarks/results/single-file.json``, and fails where one
gives others. It needs what ``make isa`` has got into ``.isa``, or gets it.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.edge.strings import strings
from benchmarks.isa.cpus import EMULATED, python
from benchmarks.speed.environments import ROOT
from embedge_export import convert

RESULTS = ROOT / "benchmarks" / "results" / "single-file.json"
_CHILD = Path(__file__).with_name("other_cpus_child.py")
_EACH = 2
_LONGEST_SECONDS = 600


def main(bundle: Path) -> int:
    """Run on each CPU, and write; 1 where bits differ."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        files = [convert(bundle, place / f"model.{form}")[0] for form in ("onnx", "ort")]
        texts = [text[:100] for kind in strings(_EACH).values() for text in kind]
        listed = place / "texts.json"
        listed.write_text(json.dumps(texts), encoding="utf-8")
        rows: list[dict[str, Any]] = []
        for cpu in EMULATED:
            out = place / f"{cpu.name}.json"
            python(cpu, ROOT / ".isa").run(_CHILD, list(map(str, [bundle, listed, out, *files])), _LONGEST_SECONDS)
            rows.append({"cpu": cpu.name, "machine": cpu.machine, "same_bits": json.loads(out.read_text())})
            print(rows[-1], flush=True)
    RESULTS.write_text(json.dumps({"texts": len(texts), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(all(row["same_bits"].values()) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
