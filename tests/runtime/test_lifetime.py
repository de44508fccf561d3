"""A loaded Embedder and what happens around it: its bundle replaced, its directory left, closing while it runs."""

import shutil
import threading
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from embedge import BundleCorrupt, Embedder, EmbedgeError
from embedge.engine.ragged import RaggedEngine
from embedge_export import export
from tests.cases import MakeCheckpoint


def test_a_bundle_replaced_under_a_loaded_embedder_is_never_mixed_in(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    """Its second session is made later than its first, and would be made of the new weights."""
    export(make_checkpoint("first"), tmp_path / "bundle")
    with Embedder.load(tmp_path / "bundle") as model:
        model.embed_query("made at once")
        export(make_checkpoint("second", layer_norm_eps=0.1), tmp_path / "bundle", force=True)
        with pytest.raises(BundleCorrupt, match="replaced or removed after the bundle was loaded"):
            model.embed_query("made later")


def test_a_removed_bundle_is_told(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint(), tmp_path / "bundle")
    with Embedder.load(tmp_path / "bundle") as model:
        shutil.rmtree(tmp_path / "bundle")
        model.embed_query("the first session has its weights mapped")
        with pytest.raises(BundleCorrupt, match="removed"):
            model.embed(["one", "two"])


def test_the_working_directory_may_change(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(bundle.parent)
    with Embedder.load(bundle.name) as model:
        before = model.embed_query("a text")
        monkeypatch.chdir(tmp_path)
        assert model.embed_query("a text").tobytes() == before.tobytes()


def test_the_first_text_has_the_bits_of_the_second(bundle: Path) -> None:
    """The first runs on weights that are not packed yet."""
    with Embedder.load(bundle) as model:
        assert model.embed_query("a text").tobytes() == model.embed_query("a text").tobytes()


@pytest.mark.parametrize("texts", [["a text of some length " * 20], ["text"] * 300], ids=["one", "many"])
def test_close_waits_for_calls_under_way(bundle: Path, passages: list[str], texts: list[str]) -> None:
    model = Embedder.load(bundle)
    expected = model.embed(texts)
    started, results = threading.Event(), []

    def work() -> None:
        started.set()
        results.append(model.embed(texts))

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    calls = cast(RaggedEngine, model._engine)._calls
    while calls._count == 0 and thread.is_alive():
        time.sleep(0.0001)
    model.close()
    finished = bool(results) or calls._count == 0
    thread.join()
    assert finished
    assert np.array_equal(results[0], expected)
    with pytest.raises(EmbedgeError, match="closed"):
        model.embed(texts)


def test_closing_twice_is_fine(bundle: Path) -> None:
    model = Embedder.load(bundle)
    model.close()
    model.close()


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_unusable_thread_counts_are_refused(bundle: Path, threads: int) -> None:
    with pytest.raises(ValueError, match="threads="):
        Embedder.load(bundle, threads=threads)
