"""Imports run downwards only: what a room may use of others, and no circle."""

import ast
from pathlib import Path

import pytest

from tests.cases import ROOT

SOURCES = {"embedge": ROOT / "runtime", "embedge_export": ROOT / "export"}

# From the top floor down; what stands in one line does not use its neighbours.
FLOORS = {
    "embedge": [
        ["cli"],
        ["server", "serverless", "pack"],
        ["requests", "checks"],
        ["fingerprint"],
        ["embedder", "reranker"],
        ["loaded"],
        ["tokenizer", "progress", "chunks"],
        ["pieces"],
        ["engine", "cuts"],
        ["bundle", "vectors"],
        ["store"],
        ["contents"],
        ["manifest", "stamps"],
        ["atomic", "inputs"],
        ["errors"],
    ],
    "embedge_export": [
        ["pipeline", "inspection", "targets"],
        ["page"],
        ["measure", "write"],
        ["trials"],
        ["traced"],
        ["network"],
        ["quantize"],
        ["reference"],
        ["graph", "checkpoint"],
        ["encoder"],
    ],
}


def modules(package: str) -> dict[str, set[str]]:
    """Every module of ``package``, and the modules of our packages that it imports, lazily or not."""
    found = {}
    for path in sorted((SOURCES[package] / package).rglob("*.py")):
        name = ".".join(path.relative_to(SOURCES[package]).with_suffix("").parts).removesuffix(".__init__")
        imported = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing_only = {
            child
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            if node in typing_only:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        found[name] = {module for module in imported if module.partition(".")[0] in SOURCES}
    return found


@pytest.mark.parametrize("package", SOURCES)
def test_imports_run_in_no_circle(package: str) -> None:
    graph = modules(package)
    known = {name: {other for other in imported if other in graph} - {name} for name, imported in graph.items()}
    # A package's own module is loaded with each of its modules; that it is so is no circle of ours.
    for name, imported in known.items():
        known[name] = {other for other in imported if not name.startswith(f"{other}.")}
    left = dict(known)
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    assert not left


@pytest.mark.parametrize("package", SOURCES)
def test_imports_run_downwards(package: str) -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    wrong = []
    for name, imported in modules(package).items():
        room = [*name.split("."), ""][1]
        if room in ("", "__main__"):
            continue
        for other in imported:
            parts = other.split(".")
            if parts[0] != package or len(parts) < 2 or parts[1] in (room, "__version__"):
                continue
            if floor[room] >= floor.get(parts[1], len(floor)):
                wrong.append(f"{name} uses {other}")
    assert wrong == []


def test_the_runtime_never_imports_the_export() -> None:
    """The command line does, where it reads checkpoints."""
    users = [name for name, imported in modules("embedge").items() if any("embedge_export" in one for one in imported)]
    assert users == ["embedge.cli.checkpoint"]


def test_onnxruntime_is_imported_in_one_place() -> None:
    """Which switches its telemetry off before."""
    users = [
        str(path.relative_to(ROOT))
        for source in SOURCES.values()
        for path in sorted(Path(source).rglob("*.py"))
        if any(line.startswith("import onnxruntime") for line in path.read_text(encoding="utf-8").splitlines())
    ]
    assert users == ["runtime/embedge/engine/ort.py"]
