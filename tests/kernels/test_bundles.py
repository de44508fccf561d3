"""Bundles by the kernels: as near to fp32 as by ONNX Runtime's operators, and the same bits however they are run."""

import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder, EmbedgeError, InputError, Reranker, verify
from embedge_export import export
from tests.cases import MakeCheckpoint, kept_bundle
from tests.kernels.running import cosines, start
from tests.layouts import write_reranker, write_trained_reranker

pytestmark = pytest.mark.usefixtures("installed")


def texts_of_all_lengths(passages: list[str]) -> list[str]:
    words = " ".join(passages).split()
    return [" ".join(words[i * 7 : i * 7 + i % 90]) for i in range(0, 90, 2)] + passages[:20] + ["", "one"] * 5


def test_vectors_are_as_near_to_fp32_as_those_of_onnx_runtime(
    bundle: Path, by_kernels: Embedder, fp32: Embedder, passages: list[str]
) -> None:
    texts = texts_of_all_lengths(passages)
    exact, ours = fp32.embed(texts), by_kernels.embed(texts)
    with start(bundle, threads=2, needs_kernels=False) as model:
        stock = model.embed(texts)
    near = cosines(ours, exact)
    print(f"to fp32: mean {near.mean():.6f}, min {near.min():.6f}; stock {cosines(stock, exact).mean():.6f}")
    print(f"to stock: mean {cosines(ours, stock).mean():.6f}, min {cosines(ours, stock).min():.6f}")
    assert near.mean() > max(0.999, cosines(stock, exact).mean() - 0.0001)
    assert near.min() > 0.995
    assert cosines(ours, stock).mean() > 0.999


@pytest.mark.parametrize("name", ["bundle", "cls_bundle"])
def test_a_text_has_the_same_bits_in_every_batch(
    name: str, request: pytest.FixtureRequest, passages: list[str]
) -> None:
    path: Path = request.getfixturevalue(name)
    texts = texts_of_all_lengths(passages)
    with start(path) as single:
        expected = {text: single.embed([text])[0].tobytes() for text in texts}
    for threads in (1, 2, 4):
        draw = random.Random(threads)
        with start(path, threads=threads) as model:
            for _ in range(3):
                batch = draw.sample(texts, k=draw.randint(2, len(texts)))
                for text, vector in zip(batch, model.embed(batch), strict=True):
                    assert vector.tobytes() == expected[text], text
            for text in draw.sample(texts, 10):
                assert model.embed([text])[0].tobytes() == expected[text], text
            few = draw.sample(texts[:8], 3)  # spread together
            assert model.embed(few).tobytes() == b"".join(expected[text] for text in few)


def test_any_number_of_threads_may_embed_at_once(by_kernels: Embedder, passages: list[str]) -> None:
    lists = [passages[start : start + 1 + start % 23] for start in range(40)]
    expected = [by_kernels.embed(texts).tobytes() for texts in lists]
    with ThreadPoolExecutor(8) as callers:
        for _ in range(3):
            found = list(callers.map(lambda texts: by_kernels.embed(texts).tobytes(), lists))
            assert found == expected


def test_a_long_text_beside_many_short_ones(by_kernels: Embedder) -> None:
    texts = ["word " * 600, *["short"] * 50]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it is truncated
        vectors = by_kernels.embed(texts)
        assert vectors[0].tobytes() == by_kernels.embed(texts[:1]).tobytes()
    assert len({vector.tobytes() for vector in vectors[1:]}) == 1
    with pytest.raises(InputError, match=r"texts\[0\] has 602 tokens"):
        by_kernels.embed(texts, on_overflow="error")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_forked_children_embed(bundle: Path, passages: list[str]) -> None:
    """While another thread of the parent embeds, too; the child makes a session of its own."""
    with start(bundle, threads=2) as model:
        expected = model.embed(passages[:20]).tobytes()
        single = model.embed(passages[:1]).tobytes()
        done = threading.Event()

        def embed_on() -> None:
            while not done.is_set():
                model.embed(passages[:20])

        other = threading.Thread(target=embed_on)
        other.start()
        try:
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(60)  # ends a child that hangs
                    right = model.embed(passages[:20]).tobytes() == expected
                    right = right and model.embed(passages[:1]).tobytes() == single
                    os._exit(0 if right else 1)
                assert os.waitpid(pid, 0)[1] == 0
        finally:
            done.set()
            other.join()
        assert model.embed(passages[:20]).tobytes() == expected


def test_closing_waits_and_lets_nothing_begin(bundle: Path, passages: list[str]) -> None:
    model = start(bundle, threads=2)
    expected = model.embed(passages[:60]).tobytes()
    with ThreadPoolExecutor(1) as callers:
        call = callers.submit(model.embed, passages[:60])
        while not model.engine.calls.others():
            time.sleep(0.0001)
        model.close()
        assert call.result().tobytes() == expected
    with pytest.raises(EmbedgeError, match="closed"):
        model.embed(["a text"])
    model.close()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads its memory from Linux's /proc")
def test_closing_gives_the_memory_back(bundle: Path) -> None:
    code = """
import sys
from pathlib import Path
from tests.kernels.running import start
def anonymous():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) / 1e3
used = []
for _ in range(6):
    with start(Path(sys.argv[1]), threads=2) as model:
        model.embed(["a text"] * 50)
    del model
    used.append(anonymous())
print(*used)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=True, env=environment
    )
    used = list(map(float, done.stdout.split()))
    print(used)
    assert used[-1] - used[1] < 6  # weights are 11 MB


def test_embedders_that_are_just_dropped_end(bundle: Path) -> None:
    for _ in range(3):
        start(bundle, threads=2).embed(["a text", "another"])
    gc.collect()


def test_a_pickled_one_gives_the_same_bits(bundle: Path) -> None:
    with Embedder.load(bundle) as model, pickle.loads(pickle.dumps(model)) as again:
        assert again.kernels == model.kernels is not None
        assert again.embed(["a text"]).tobytes() == model.embed(["a text"]).tobytes()


def test_verify_passes(bundle: Path) -> None:
    for check in verify(bundle):
        assert check.passed
        assert check.cosine
        assert check.smallest == {"int8": 0.995, "fp32": 0.999999}[check.variant]


# Rerankers


@pytest.fixture(scope="module")
def reranker(minilm: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = write_trained_reranker(minilm, tmp_path_factory.mktemp("reranker") / "large")
    return kept_bundle(kept, "kernels-reranker", source, ["int8", "fp32"])


def test_scores_of_pairs(reranker: Path, passages: list[str]) -> None:
    pairs = [(query, text) for query in ("why does bread dough rise?", "") for text in passages[:60]]
    with Reranker.load(reranker, threads=2) as model, Reranker.load(reranker, variant="fp32") as fp32:
        assert model.kernels
        scores = model.scores(pairs)
        assert np.corrcoef(scores, fp32.scores(pairs))[0, 1] > 0.99
        assert [model.scores([pair])[0] for pair in pairs[::7]] == scores[::7].tolist()
        assert model.scores(pairs[::-1]).tolist() == scores[::-1].tolist()


def test_which_text_is_the_query_counts(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(write_reranker(make_checkpoint()), tmp_path / "out")
    with Reranker.load(tmp_path / "out") as model:
        assert model.kernels
        one, other, again = model.scores([("a boat", "the sea"), ("the sea", "a boat"), ("a boat", "the sea")])
    assert one == again
    assert one != other
