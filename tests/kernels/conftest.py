"""Tests of the graphs for ``embedge-kernels``, and of what runs them.

Those that run the kernels are skipped where the package is not installed; with ``EMBEDGE_REQUIRE_KERNELS=1`` they fail.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from embedge.engine.native import kernels
from embedge_export import checkpoint
from embedge_export.network import HandWritten
from tests.cases import write_checkpoint
from tests.kernels.running import start


@pytest.fixture(scope="session")
def installed() -> None:
    """The kernels, without which a test is skipped."""
    found = kernels()
    if found.library is None:
        if os.environ.get("EMBEDGE_REQUIRE_KERNELS") == "1":
            pytest.fail(f"embedge-kernels: {found.description}")
        pytest.skip(f"embedge-kernels: {found.description}")


@pytest.fixture(scope="module")
def by_kernels(bundle: Path, installed: None) -> Iterator[Embedder]:
    """MiniLM's int8 by the kernels, on two threads."""
    with start(bundle, threads=2) as model:
        yield model


@pytest.fixture(scope="session")
def network(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> HandWritten:
    """A random BERT of 2 layers and 1000 words, in float32."""
    source = write_checkpoint(tmp_path_factory.mktemp("network") / "tiny", minilm, "mean")
    found = HandWritten.load(checkpoint.load(str(source)))
    assert isinstance(found.encoder.words, np.ndarray)
    return replace(found, encoder=replace(found.encoder, words=found.encoder.words[:1000]))
