"""An export holds the kernels' graph to what it asks of the others, and writes the same bytes without the kernels."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedge import FidelityError
from embedge.engine.native import SWITCH
from embedge_export import export, measure
from embedge_export.graph import kernels
from embedge_export.graph.builder import GraphBuilder
from tests.cases import FORMS, MakeCheckpoint
from tests.kernels.running import GRAPH


@pytest.mark.usefixtures("installed")
def test_the_bytes_do_not_depend_on_the_kernels(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    code = "import sys; from embedge_export import export; export(*sys.argv[1:], on_step=print)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = {}
    for name, value in (("with", ""), ("without", "0")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(source), str(tmp_path / name)],
            capture_output=True, text=True, check=True, env={**environment, SWITCH: value},
        )  # fmt: skip
        told[name] = done.stdout
    for path in (tmp_path / "with").iterdir():
        assert path.read_bytes() == (tmp_path / "without" / path.name).read_bytes(), path.name
    assert f"comparing {GRAPH} with fp32" in told["with"]
    assert f"{GRAPH} is not compared: embedge-kernels not used: {SWITCH}=0" in told["without"]


@pytest.mark.usefixtures("installed")
def test_a_graph_of_another_network_is_not_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author = kernels.author

    def wrong(encoder: Any, head: Any) -> GraphBuilder:
        return author(replace(encoder, epsilon=0.1), head)

    monkeypatch.setattr(kernels, "author", wrong)
    with pytest.raises(FidelityError, match=f"int8 has cosines .* to fp32 by {GRAPH}"):
        export(make_checkpoint(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("installed")
def test_a_graph_that_does_not_load_is_not_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author = kernels.author

    def odd(encoder: Any, head: Any) -> GraphBuilder:
        written = author(encoder, head)
        written.add("NoSuchOperator", "odd", "embedding")
        return written

    monkeypatch.setattr(kernels, "author", odd)
    with pytest.raises(FidelityError, match=f"{GRAPH} does not run here"):
        export(make_checkpoint(), tmp_path / "out")


@pytest.mark.usefixtures("installed")
def test_a_graph_whose_bits_depend_on_the_batch_is_not_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "is_batch_invariant", lambda model: not model.kernels)
    with pytest.raises(FidelityError, match=f"{GRAPH} gives a text other bits in a list than by itself"):
        export(make_checkpoint(), tmp_path / "out")


def test_without_kernels_it_is_written_all_the_same(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "capabilities", lambda: FORMS["unsigned"])
    steps: list[str] = []
    export(make_checkpoint(), tmp_path / "out", on_step=steps.append)
    assert (tmp_path / "out" / GRAPH).is_file()
    assert any(step.startswith(f"{GRAPH} is not compared") for step in steps)
