"""The variant for GPUs, as far as a CPU can tell: its graph, its vectors, its padded batches."""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge import Bundle, Embedder, EmbedgeError, ExportError, FidelityError, ProviderError
from embedge.cli import main
from embedge.engine.choose import Choice
from embedge.engine.ort import CPU
from embedge.engine.padded import PaddedEngine, pad
from embedge.engine.plan import plan_padded
from embedge.engine.sessions import SessionMaker
from embedge_export import export
from embedge_export.graph import cuda as graph_fp16
from embedge_export.measure import cosines
from tests.cases import MakeCheckpoint

ODD = ["", " ", "a", "\x00", "日本語のテキスト", "🙂" * 30, "[PAD] [UNK] [MASK]", "x" * 500, "word " * 400]


@pytest.fixture(scope="module")
def fp16(fp16_bundle: Path) -> Iterator[Embedder]:
    with Embedder.load(fp16_bundle, variant="fp16") as embedder:
        yield embedder


@pytest.fixture(scope="module")
def graph(fp16_bundle: Path) -> onnx.GraphProto:
    return onnx.load(fp16_bundle / "model.fp16.onnx").graph


# The graph


def test_every_operator_has_a_cuda_kernel(graph: onnx.GraphProto) -> None:
    """By the list of kernels in ONNX Runtime's documentation; `test_cuda.py` asks a GPU."""
    assert {node.op_type for node in graph.node} <= set(graph_fp16.CUDA_KERNELS)


def test_a_layer_is_seven_operators(graph: onnx.GraphProto) -> None:
    layer = Counter(node.op_type for node in graph.node if node.name.startswith("layer2/"))
    assert layer == {"Attention": 1, "MatMul": 3, "SkipLayerNormalization": 2, "BiasGelu": 1}


def test_matrices_tables_biases_and_norms_are_float16(graph: onnx.GraphProto) -> None:
    large = [tensor for tensor in graph.initializer if int(np.prod(tensor.dims)) > 1]
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


def test_norms_have_the_checkpoints_epsilon(graph: onnx.GraphProto) -> None:
    norms = [node for node in graph.node if node.op_type.endswith("LayerNormalization")]
    epsilons = {a.f for node in norms for a in node.attribute if a.name == "epsilon"}
    assert len(norms) == 13
    assert epsilons == {np.float32(1e-12)}


def test_ids_go_in_and_float32_vectors_come_out(graph: onnx.GraphProto) -> None:
    (ids,), (vectors,) = graph.input, graph.output
    assert ids.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert vectors.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(("activation", "operator"), [("relu", "Relu"), ("gelu_new", "FastGelu"), ("gelu", "BiasGelu")])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_every_activation_and_pooling_comes_near_fp32(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, passages: list[str], activation: str, operator: str, pooling: str
) -> None:
    checkpoint = make_checkpoint(pooling=pooling, hidden_act=activation)
    export(checkpoint, tmp_path / "out", precision=["fp16", "fp32"])
    nodes = onnx.load(tmp_path / "out" / "model.fp16.onnx", load_external_data=False).graph.node
    assert operator in {node.op_type for node in nodes} <= set(graph_fp16.CUDA_KERNELS)
    with Embedder.load(tmp_path / "out", variant="fp16") as ours, Embedder.load(tmp_path / "out") as fp32:
        assert cosines(ours.embed(passages[:20]), fp32.embed(passages[:20])).min() >= 0.9999


def test_a_roberta_comes_near_fp32_in_padded_batches(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, passages: list[str]
) -> None:
    """Its positions are counted on the device; also a text with a padding token of its own is among these."""
    source = make_checkpoint(model_type="roberta", pad_token_id=0)
    export(source, tmp_path / "out", precision=["fp16", "fp32"])
    nodes = onnx.load(tmp_path / "out" / "model.fp16.onnx", load_external_data=False).graph.node
    assert {"CumSum"} <= {node.op_type for node in nodes} <= set(graph_fp16.CUDA_KERNELS)
    texts = [*passages[:20], *ODD]
    with Embedder.load(tmp_path / "out", variant="fp16") as ours, Embedder.load(tmp_path / "out") as fp32:
        assert cosines(ours.embed(texts), fp32.embed(texts)).min() >= 0.9999


def test_what_has_to_be_traced_has_no_fp16(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model_type 'mpnet'.*fp16 is for hand-written graphs only"):
        export(make_checkpoint(model_type="mpnet"), tmp_path / "out", precision=["fp16"])
    with pytest.raises(ExportError, match="fp16 is for hand-written graphs only"):
        export(make_checkpoint("bert"), tmp_path / "out", precision=["fp16"], via="optimum")
    assert not (tmp_path / "out").exists()


# Vectors


def test_vectors_have_a_cosine_of_0_9999_to_fp32(fp16: Embedder, fp32: Embedder, passages: list[str]) -> None:
    found = cosines(fp16.embed(passages), fp32.embed(passages))
    print(f"fp16 to fp32: mean {found.mean():.7f}, least {found.min():.7f}")
    assert found.min() >= 0.9999


@pytest.mark.filterwarnings("ignore:.*truncated")
def test_odd_texts_have_a_cosine_of_0_9999_to_fp32(fp16: Embedder, fp32: Embedder) -> None:
    assert cosines(fp16.embed(ODD), fp32.embed(ODD)).min() >= 0.9999


@pytest.mark.filterwarnings("ignore:.*truncated")
def test_a_batch_gives_what_single_texts_give(fp16: Embedder, passages: list[str]) -> None:
    texts = [*passages[:60], *ODD]
    alone = np.array([fp16.embed([text])[0] for text in texts])
    together = fp16.embed(texts)
    print(f"largest difference {np.abs(together - alone).max():.2e}")
    assert np.abs(together - alone).max() <= 1e-3


def test_vectors_have_length_1(fp16: Embedder, passages: list[str]) -> None:
    assert np.abs(np.linalg.norm(fp16.embed(passages[:50]), axis=1) - 1).max() < 1e-6


def test_an_empty_list_gives_no_vectors(fp16: Embedder) -> None:
    assert fp16.embed([]).shape == (0, 384)


def test_weights_too_large_for_float16_fail_the_export(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = graph_fp16._half
    monkeypatch.setattr(graph_fp16, "_half", lambda g, name, value: half(g, name, value * np.float32(1e7)))
    with pytest.raises(FidelityError, match="fp16 overflowed"):
        export(make_checkpoint(), tmp_path / "out", precision=["fp16"])
    assert not (tmp_path / "out").exists()


# The bundle


def test_the_manifest_tells_what_fp16_is_for(fp16_bundle: Path) -> None:
    manifest = Bundle.open(fp16_bundle).manifest
    assert manifest.variants["fp16"].devices[0] == "cuda"
    measured = manifest.measured.variants["fp16"]
    assert not measured.batch_invariant
    assert measured.fidelity.reference == "fp32"
    assert measured.fidelity.min_cosine >= 0.9999


def test_a_bundle_may_have_fp16_alone(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    report = export(make_checkpoint(), tmp_path / "out", precision=["fp16"])
    assert set(report.manifest.variants) == {"fp16"}
    assert not (tmp_path / "out" / "model.fp32.bin").exists()


def test_a_report_leaves_fp16_out(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint(), tmp_path / "out", precision=["fp16", "fp32"], report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "fp32" in page
    assert "fp16" not in page


def test_verify_runs_fp16_on_a_cpu(fp16_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(fp16_bundle)]) == 0
    assert "fp16 on cpu: vectors as sealed" in capsys.readouterr().out


# Padded batches


@given(st.lists(st.integers(1, 512), max_size=200), st.integers(1, 4000))
def test_every_text_is_in_one_batch_that_keeps_the_budget(lengths: list[int], budget: int) -> None:
    groups = plan_padded(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget


@given(st.lists(st.integers(1, 512), min_size=1, max_size=200), st.integers(512, 4000))
def test_no_batch_but_the_last_could_have_taken_twice_as_many(lengths: list[int], budget: int) -> None:
    groups = plan_padded(lengths, budget)
    assert all(2 * len(group) * lengths[group[0]] > budget for group in groups[:-1])
    assert all(len(group).bit_count() == 1 for group in groups[:-1])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=64))
def test_there_are_few_shapes(lengths: list[int]) -> None:
    rows, tokens = pad([[7] * length for length in lengths], max_tokens=100).shape
    assert rows.bit_count() == 1
    assert len(lengths) <= rows < 2 * len(lengths)
    assert tokens in (16, 32, 48, 64, 80, 96, 100)
    assert max(lengths) <= tokens < max(lengths) + 16


def test_a_quarter_of_what_paragraphs_cost_is_padding_at_the_most(fp16: Embedder, passages: list[str]) -> None:
    lengths = fp16.count_tokens(passages * 3)
    groups = plan_padded(lengths, 16384)
    padded = sum(len(group) * max(lengths[index] for index in group) for group in groups)
    print(f"{len(groups)} batches, {1 - sum(lengths) / padded:.1%} padding")
    assert sum(lengths) / padded >= 0.75


def test_rows_are_padded_on_the_right_with_what_no_token_is() -> None:
    assert pad([[5, 6, 7], [8]], max_tokens=4).tolist() == [[5, 6, 7, -1], [8, -1, -1, -1]]
    assert pad([[5], [6], [7]], max_tokens=2).tolist() == [[5, -1], [6, -1], [7, -1], [5, -1]]


def test_a_word_that_no_text_has_does_not_spoil_those_that_are_padded(fp16_bundle: Path, tmp_path: Path) -> None:
    """An infinite vector, as a word's may become in float16, is nobody's padding, and a text with it is an error."""
    shutil.copytree(fp16_bundle, tmp_path / "bundle")
    model = onnx.load(tmp_path / "bundle" / "model.fp16.onnx")
    (table,) = (tensor for tensor in model.graph.initializer if tensor.name == "words/table")
    words = onnx.numpy_helper.to_array(table).copy()
    words[-1] = np.inf
    table.CopyFrom(onnx.numpy_helper.from_array(words, table.name))
    (tmp_path / "bundle" / "model.fp16.bin").unlink()
    onnx.save(model, tmp_path / "bundle" / "model.fp16.onnx", save_as_external_data=True, location="model.fp16.bin")
    engine = padded(Bundle(tmp_path / "bundle", Bundle.open(fp16_bundle).manifest))
    assert np.isfinite(engine.run([[101, 2003, 102], [101, 102]])).all()
    with pytest.raises(ProviderError, match="overflowed"):
        engine.run([[101, len(words) - 1, 102]])


def padded(bundle: Bundle) -> PaddedEngine:
    """fp16 of a bundle that need not be sealed, on the CPU."""
    return PaddedEngine(maker(bundle), threads=1, width=384, max_tokens=256)


def maker(bundle: Bundle) -> SessionMaker:
    return SessionMaker(bundle, Choice("fp16", bundle.manifest.variants["fp16"].graphs[0]), [CPU])


# Life and death, as with the other variants (test_isolation.py, test_lifetime.py)


def test_a_closed_embedder_says_so(fp16_bundle: Path) -> None:
    model = Embedder.load(fp16_bundle, variant="fp16")
    model.close()
    with pytest.raises(EmbedgeError, match="closed; load it again"):
        model.embed(["a"])


def test_many_callers_at_once_get_what_one_gets(fp16: Embedder, passages: list[str]) -> None:
    expected = fp16.embed(passages[:40])
    with ThreadPoolExecutor(8) as callers:
        results = list(callers.map(lambda start: fp16.embed(passages[start : start + 5]), range(0, 40, 5)))
    assert np.abs(np.concatenate(results) - expected).max() <= 1e-3


def test_sessions_are_not_used_by_two_callers_at_once(fp16_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = 0

    def run(self: PaddedEngine, rows: list[list[int]]) -> np.ndarray:
        nonlocal inside
        inside += 1
        assert inside == 1
        time.sleep(0.001)
        inside -= 1
        return np.zeros((len(rows), 384), np.float32)

    with Embedder.load(fp16_bundle, variant="fp16") as model:
        monkeypatch.setattr(PaddedEngine, "_run_batch", run)
        with ThreadPoolExecutor(8) as callers:
            list(callers.map(lambda _: model.embed(["a"] * 3), range(40)))


def test_a_query_waits_for_one_batch_of_a_long_list_and_not_for_all(
    fp16_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    started = threading.Event()

    def run(self: PaddedEngine, rows: list[list[int]]) -> np.ndarray:
        started.set()
        time.sleep(0.01)
        return np.zeros((len(rows), 384), np.float32)

    with Embedder.load(fp16_bundle, variant="fp16") as model, ThreadPoolExecutor(1) as other:

        def embed_many() -> None:
            model.embed(["word " * 200] * 200)
            done.append("list")

        monkeypatch.setattr(PaddedEngine, "_run_batch", run)
        many = other.submit(embed_many)
        started.wait()
        model.embed(["a"])
        done.append("query")
        many.result()
    assert done == ["query", "list"]


def test_close_waits_for_the_call_under_way(fp16_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, finished = threading.Event(), []

    def run(self: PaddedEngine, rows: list[list[int]]) -> np.ndarray:
        started.set()
        time.sleep(0.05)
        finished.append(True)
        return np.zeros((len(rows), 384), np.float32)

    model = Embedder.load(fp16_bundle, variant="fp16")
    monkeypatch.setattr(PaddedEngine, "_run_batch", run)
    with ThreadPoolExecutor(1) as other:
        call = other.submit(model.embed, ["a"])
        started.wait()
        model.close()
        assert finished
        assert call.result().shape == (1, 384)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_child_embeds_on_the_cpu(fp16: Embedder, passages: list[str]) -> None:
    expected = fp16.embed(passages[:10])
    pid = os.fork()
    if pid == 0:
        import signal

        signal.alarm(30)
        os._exit(0 if np.allclose(fp16.embed(passages[:10]), expected, atol=1e-6) else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_child_of_a_process_that_uses_cuda_is_told_to_be_spawned_faked(fp16_bundle: Path) -> None:
    """Without a GPU: a session of the CPU, which in the child claims to have been one of CUDA. The fork is real."""
    sessions = maker(Bundle.open(fp16_bundle))
    engine = PaddedEngine(sessions, threads=1, width=384, max_tokens=256)
    pid = os.fork()
    if pid == 0:
        sessions.providers = ["CUDAExecutionProvider"]
        try:
            engine.run([[101, 102]])
        except ProviderError as exc:
            os._exit(0 if "'spawn' method" in str(exc) else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
