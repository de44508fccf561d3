"""On an NVIDIA GPU, where there is one. Skipped elsewhere, with the reason that `embedge doctor` gives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from embedge.engine import cuda
from embedge.engine.ort import CUDA
from embedge_export.measure import cosines

REASONS = cuda.why_not(CUDA)
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(bool(REASONS), reason="; ".join(REASONS))]


@pytest.fixture(scope="module")
def on_gpu(fp16_bundle: Path) -> Iterator[Embedder]:
    """Warnings are errors here, so that loading it also tells that no node runs on the CPU."""
    with Embedder.load(fp16_bundle, providers=["cuda"]) as embedder:
        yield embedder


def test_cuda_runs_fp16_with_no_node_on_the_cpu(on_gpu: Embedder) -> None:
    assert on_gpu.variant == "fp16"


def test_vectors_have_a_cosine_of_0_9999_to_fp32_on_the_cpu(
    on_gpu: Embedder, fp32: Embedder, passages: list[str]
) -> None:
    found = cosines(on_gpu.embed(passages), fp32.embed(passages))
    print(f"fp16 on the GPU to fp32: mean {found.mean():.7f}, min {found.min():.7f}")
    assert found.min() >= 0.9999


def test_a_batch_gives_what_single_texts_give(on_gpu: Embedder, passages: list[str]) -> None:
    texts = [*passages[:60], "", "a"]
    alone = np.array([on_gpu.embed([text])[0] for text in texts])
    together = on_gpu.embed(texts)
    print(f"largest difference {np.abs(together - alone).max():.2e}")
    assert np.abs(together - alone).max() <= 1e-3


def test_the_gpu_gives_what_the_cpu_gives(on_gpu: Embedder, fp16_bundle: Path, passages: list[str]) -> None:
    with Embedder.load(fp16_bundle, variant="fp16") as on_cpu:
        assert np.abs(on_gpu.embed(passages[:40]) - on_cpu.embed(passages[:40])).max() <= 1e-3


@pytest.mark.filterwarnings("ignore:.*nodes run on the CPU")
def test_fp32_runs_too_and_is_exact(fp16_bundle: Path, fp32: Embedder, passages: list[str]) -> None:
    with Embedder.load(fp16_bundle, variant="fp32", providers=["cuda"]) as model:
        assert cosines(model.embed(passages[:40]), fp32.embed(passages[:40])).min() >= 0.99999
