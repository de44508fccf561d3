"""What the example for Node.js needs, from npm, under ``.bench/edge``."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.environments import BENCH, ROOT, Unavailable, run

EXAMPLE = ROOT / "examples" / "node"


class NodePackages(NamedTuple):
    """A copy of the example with its packages."""

    place: Path
    versions: dict[str, str]


def node_packages(place: Path = BENCH / "edge" / "node") -> NodePackages:
    """The example with its packages in ``place``, installed first where they are not there.

    Raises:
        Unavailable: there is no npm, or it can't install them; with the reason.
    """
    wanted = (EXAMPLE / "package.json").read_text(encoding="utf-8")
    done = place / "installed.json"
    if not (done.is_file() and done.read_text(encoding="utf-8") == wanted):
        if not shutil.which("npm") or not shutil.which("node"):
            raise Unavailable("Node.js and npm are not installed")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(EXAMPLE / "package.json", place)
        # Without scripts: onnxruntime-node's would fetch libraries for GPUs.
        run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", place], cwd=place)
        done.write_text(wanted, encoding="utf-8")
    for path in EXAMPLE.glob("*.mjs"):
        shutil.copy(path, place)
    return NodePackages(place, json.loads(wanted)["dependencies"])
