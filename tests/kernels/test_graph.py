"""The kernels' graph in a bundle: when it is written, and that it adds nothing to the weights."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from embedge import Bundle, Embedder
from embedge.engine.choose import choose
from embedge.engine.ort import CPU
from embedge_export import export
from embedge_export.encoder import Dense, Head, Linear
from embedge_export.graph import kernels
from embedge_export.graph.builder import save
from embedge_export.network import HandWritten
from tests.cases import FORMS, MakeCheckpoint
from tests.damage import reseal
from tests.kernels.running import GRAPH, start, tiny_texts


def places(path: Path) -> dict[str, tuple[list[int], dict[str, str]]]:
    """The tensors of a graph that lie in its weights file: their shapes, and where they lie."""
    graph = onnx.load(path, load_external_data=False).graph
    return {
        tensor.name: (list(tensor.dims), {entry.key: entry.value for entry in tensor.external_data})
        for tensor in graph.initializer
        if tensor.external_data
    }


def test_it_is_the_first_graph_of_int8(bundle: Path) -> None:
    variants = Bundle.open(bundle).manifest.variants
    first, *others = variants["int8"].graphs
    assert (first.file, first.execution, first.needs, first.unsigned) == (GRAPH, "packed", ("kernels",), False)
    assert [graph.file for graph in others] == ["model.int8.onnx", "model.int8-unsigned.onnx"]
    assert [graph.file for graph in variants["fp32"].graphs] == ["model.fp32.onnx"]


@pytest.mark.parametrize("name", ["bundle", "cls_bundle"])
def test_it_shares_the_weights_and_adds_less_than_a_fifth_of_a_megabyte(
    name: str, request: pytest.FixtureRequest
) -> None:
    bundle: Path = request.getfixturevalue(name)
    ours, stock = places(bundle / GRAPH), places(bundle / "model.int8.onnx")
    assert set(ours) <= set(stock)
    assert all(ours[tensor] == stock[tensor] for tensor in ours)
    ends = [int(place["offset"]) + int(place["length"]) for _, place in stock.values()]
    assert (bundle / "model.int8.bin").stat().st_size == max(ends)
    assert (bundle / GRAPH).stat().st_size < 100_000


def test_other_graphs_have_the_bytes_that_they_have_without_it(network: HandWritten, tmp_path: Path) -> None:
    quantized = network.quantize(tiny_texts(16))
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
        graphs = {tmp_path / folder / "model.onnx": quantized.author()}
        if folder == "with":
            graphs[tmp_path / folder / GRAPH] = kernels.author(quantized.encoder, quantized.head)
        save(graphs, tmp_path / folder / "model.bin")
    for file in ("model.onnx", "model.bin"):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()


def test_constants_of_one_name_are_the_same(network: HandWritten) -> None:
    for mode in ("mean", "cls"):
        quantized = replace(network, head=Head((mode,))).quantize(tiny_texts(16))
        ours = kernels.author(quantized.encoder, quantized.head)
        for name, value in quantized.author().constants.items():
            if name in ours.constants:
                assert np.array_equal(ours.constants[name], value), name


def test_matrices_of_a_head_lie_behind_the_others_as_unsigned_numbers(network: HandWritten, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 0.2, (64, 96)).astype(np.float32)
    head = Head(("mean",), (Dense(Linear(weight, np.zeros(96, np.float32)), "tanh"),))
    quantized = replace(network, head=head).quantize(tiny_texts(16))
    ours, weights = tmp_path / GRAPH, tmp_path / "model.bin"
    codes = save(
        {tmp_path / "model.onnx": quantized.author(), ours: kernels.author(quantized.encoder, quantized.head)}, weights
    )
    (added,) = places(ours).keys() - places(tmp_path / "model.onnx").keys()
    offset = int(places(ours)[added][1]["offset"])
    stored = np.fromfile(weights, np.uint8)
    signed = stored[codes["dense0/codes"].offset :][: 64 * 96].view(np.int8)
    assert offset + 64 * 96 == len(stored)
    assert np.array_equal(stored[offset:].astype(np.int16) - 128, signed)


@pytest.mark.parametrize("changes", [{"hidden_size": 48}, {"intermediate_size": 80}], ids=str)
def test_encoders_of_other_widths_have_none(make_checkpoint: MakeCheckpoint, tmp_path: Path, changes: Any) -> None:
    manifest = export(make_checkpoint(**changes), tmp_path / "out").manifest
    assert [graph.file for graph in manifest.variants["int8"].graphs] == ["model.int8.onnx", "model.int8-unsigned.onnx"]


def test_a_bundle_without_it_runs_as_before(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those do that were written before there were kernels."""
    old = Path(shutil.copytree(bundle, tmp_path / "old", ignore=shutil.ignore_patterns(".verified", GRAPH)))

    def without(fields: dict[str, Any]) -> None:
        del fields["files"][GRAPH]
        del fields["variants"]["int8"]["graphs"][0]

    reseal(old, without)
    texts = ["a boat", "", "rain fell on the harbour all night"]
    with Embedder.load(old) as model, start(bundle, needs_kernels=False) as stock:
        assert model.kernels is None
        assert model.embed(texts).tobytes() == stock.embed(texts).tobytes()


def test_it_is_not_chosen_without_kernels(bundle: Path) -> None:
    variants = Bundle.open(bundle).manifest.variants
    for form in FORMS.values():
        assert choose(variants, "auto", CPU, form).graph.execution == "ragged"
        with_kernels = form._replace(kernels=True)
        assert choose(variants, "auto", CPU, with_kernels).graph.execution == "packed"
        assert choose(variants, "auto", "OpenVINOExecutionProvider", with_kernels).graph.execution == "ragged"
