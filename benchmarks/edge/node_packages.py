"""What the example for Node.js needs, from npm, under ``.bench/edge``."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.environments import BENCH, ROOT, Unavailable, run

EXAMPLE = ROOT / "examples" / "node"
# Without scripts: onnxruntime-node's would fetch libraries for GPUs. Without a network npm would try for two minutes.
_OPTIONS = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--fetch-retry-mintimeout=100",
    "--fetch-retry-maxtimeout=1000",
)


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
    if not shutil.which("npm") or not shutil.which("node"):
        raise Unavailable("Node.js and npm are not installed")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:  # tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / "installed.json"
        if not (done.is_file() and done.read_text(encoding="utf-8") == wanted):
            shutil.rmtree(place / "node_modules", ignore_errors=True)
            (place / "package-lock.json").unlink(missing_ok=True)
            shutil.copy(EXAMPLE / "package.json", place)
            run(["npm", "install", *_OPTIONS, "--prefix", place], cwd=place)
            done.write_text(wanted, encoding="utf-8")
        for path in EXAMPLE.glob("*.mjs"):
            copied = place / path.name
            if not (copied.is_file() and copied.read_bytes() == path.read_bytes()):
                shutil.copy(path, copied)
    return NodePackages(place, json.loads(wanted)["dependencies"])
