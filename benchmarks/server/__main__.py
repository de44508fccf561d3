"""Load ``embedge serve`` and its peers by sockets on loopback: ``make bench-server``.

``--seconds`` each figure, ``--soak`` seconds at saturation; ``--quick`` writes nothing and measures embedge alone.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_kind, machine
from benchmarks.server import measure
from benchmarks.server.load import version
from benchmarks.server.servers import SERVERS, Server, running
from benchmarks.server.tables import goals, table
from benchmarks.speed.environments import ROOT, Unavailable, python_of
from benchmarks.speed.models import prepare
from embedge import Embedder

RESULTS = ROOT / "benchmarks" / "results" / "server.json"
_VERSIONS = "import importlib.metadata as m, sys, json; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--soak", type=float, default=600, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    ours = SERVERS["embedge"]
    chosen = {"embedge": ours} if options.quick else SERVERS
    models, failed = prepare("bge-small", {server.step for server in chosen.values() if server.step})
    results: dict[str, Any] = {
        "conditions": {
            "checkpoint": "bge-small's architecture, random weights",
            "threads": options.threads,
            "seconds": options.seconds,
            "load_before": round(os.getloadavg()[0], 1),
            "tool": version(),
            "kind": cpu_kind(),
            **machine(),
        },
        "servers": {},
        "unavailable": {},
    }
    with Embedder.load(models / "bundle", threads=options.threads) as library:
        for name, server in chosen.items():
            print(f"loading {server.label}", flush=True)
            try:
                if server.step in failed:
                    raise Unavailable(failed[server.step])
                results["servers"][name] = _measure(server, models, library, options)
            except Unavailable as exc:
                results["unavailable"][server.label] = str(exc)
        print("flooding", flush=True)
        with running(ours, models, options.threads, *measure.FLOOD_FLAGS) as server_:
            results["flood"] = measure.flood(server_, library, options.seconds)
        print("soaking", flush=True)
        with running(ours, models, options.threads) as server_:
            results["soak"] = measure.soak(server_, library, options.soak)
    results["conditions"]["load_after"] = round(os.getloadavg()[0], 1)
    results["goals"] = goals(results)
    print(table(results))
    if not options.quick:
        RESULTS.write_text(json.dumps(_rounded(results), indent=1) + "\n")
        print(f"written to {RESULTS.relative_to(ROOT)}")
    return 0


def _measure(server: Server, models: Path, library: Embedder, options: argparse.Namespace) -> dict[str, Any]:
    seconds: float = options.seconds
    with running(server, models, options.threads) as found:
        figures: dict[str, Any] = {"label": server.label, "versions": _versions(server)}
        figures["lone"] = measure.lone_queries(found, server.model, library)
        figures["library_texts_per_s"] = measure.library_bulk(library, seconds)
        figures["texts_per_s"] = measure.bulk(found, server.model)
        figures["queries"] = measure.queries(found, server.model, seconds)
        figures["memory_mb"] = found.memory_mb()
    return figures


def _versions(server: Server) -> dict[str, str]:
    python = python_of(server.environment)
    out = subprocess.run([python, "-c", _VERSIONS, *server.packages], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(out.stdout)
    return versions


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
