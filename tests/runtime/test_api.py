"""What people type beside texts: names, properties, copies, options of wrong types, progress, threads of asyncio."""

import asyncio
import copy as copying
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import pytest

import embedge
from embedge import Bundle, Embedder, Manifest, Variant
from embedge_export import export

FloatArray = npt.NDArray[np.float32]
TEXTS = ["a boat", "the sea", ""]


@pytest.fixture(scope="module")
def prompted(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """A tiny model with a query prompt that takes 20 tokens."""
    out = tmp_path_factory.mktemp("prompted") / "out"
    most: Any = np.int64(20)
    export(tiny_checkpoint, out, precision="fp32", query_prompt="query: ", document_prompt="", max_tokens=most)
    with Embedder.load(out, threads=1) as model:
        yield model


# Queries


def test_embed_queries_gives_the_bits_of_embed_query_for_each(prompted: Embedder) -> None:
    rows = prompted.embed_queries(TEXTS)
    assert rows.shape == (3, 16)
    assert np.array_equal(rows, np.stack([prompted.embed_query(text) for text in TEXTS]))
    assert np.array_equal(rows, prompted.embed(TEXTS, prompt="query: "))
    assert not np.array_equal(rows, prompted.embed(TEXTS))
    assert prompted.embed_queries([]).shape == (0, 16)
    for dtype in ("float16", "int8", "binary"):
        rows = prompted.embed_queries(TEXTS, dtype=dtype, dimensions=8)
        assert np.array_equal(rows[0], prompted.embed_query(TEXTS[0], dtype=dtype, dimensions=8))


def test_truncated_queries_are_one_warning_in_the_callers_line(prompted: Embedder) -> None:
    with pytest.warns(UserWarning, match="^2 texts were truncated to the model's 20 tokens") as caught:
        prompted.embed_queries(["word " * 30, "short", "word " * 17])
    assert [warning.filename for warning in caught] == [__file__]


# Names and properties


def test_an_embedder_says_what_it_is(prompted: Embedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = prompted.path
    assert (prompted.dimensions, prompted.max_tokens, prompted.variant, prompted.threads) == (16, 20, "fp32", 1)
    assert prompted.prompts == {"query": "query: ", "document": ""}
    monkeypatch.chdir(path.parent)
    with Embedder.load("out", threads=2) as model:
        monkeypatch.chdir(tmp_path)
        assert repr(model) == "Embedder('out', variant='fp32', dimensions=16, max_tokens=20, threads=2)"
        assert model.path == path


def test_the_prompts_handed_out_are_a_copy(prompted: Embedder) -> None:
    prompted.prompts["query"] = "other: "
    assert prompted.prompts["query"] == "query: "


def test_bundles_and_manifests_are_printed_in_a_line(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert repr(opened) == f"Bundle({str(bundle)!r}, {opened.manifest!r})"
    for shown in (opened.manifest, *opened.manifest.variants.values(), *opened.manifest.measured.variants.values()):
        assert len(repr(shown)) < 300
    assert "variants=['int8', 'fp32'], dimensions=384, max_tokens=256" in repr(opened.manifest)
    assert isinstance(opened.manifest, Manifest)
    assert isinstance(opened.manifest.variants["int8"], Variant)


def test_verify_checks_every_variant(tiny: Path) -> None:
    checks = embedge.verify(tiny)
    assert [(check.variant, check.passed, check.reason) for check in checks] == [
        ("int8", True, None),
        ("fp32", True, None),
    ]
    assert isinstance(checks[0], embedge.Check)
    assert embedge.verify(tiny, providers="cpu") == embedge.verify(tiny, providers=["cpu"]) == checks


# Copies


def vectors_of(model: Embedder) -> bytes:
    """Run in another process: the model is pickled on its way there."""
    with model:
        return model.embed(TEXTS).tobytes() + f"{model.path} {model.variant} {model.threads}".encode()


def test_a_model_goes_to_a_spawned_process(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.parent)
    with Embedder.load(tiny.name, variant="fp32", threads=1) as model:
        monkeypatch.chdir("/")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(vectors_of, [model]) == model.embed(TEXTS).tobytes() + f"{tiny} fp32 1".encode()


def test_copies_load_again_and_close_by_themselves(tiny: Path) -> None:
    with Embedder.load(tiny) as model:
        expected = model.embed(TEXTS)
        copies = [copying.copy(model), copying.deepcopy({"model": model})["model"], pickle.loads(pickle.dumps(model))]
        assert {repr(other) for other in copies} == {repr(model)}
    for other in copies:
        assert np.array_equal(other.embed(TEXTS), expected)
        other.close()


def test_what_an_earlier_release_pickled_is_loaded(tiny: Path) -> None:
    """It names no ``low_memory``."""
    with Embedder.load(tiny, threads=1) as model:
        load, given = model.__reduce__()
        with load(*given[:4]) as again:
            assert again.__reduce__() == (load, given)


def test_what_is_pickled_is_small_and_asks_for_all_cpus_of_where_it_is_loaded(tiny: Path) -> None:
    with Embedder.load(tiny) as model:
        pickled = pickle.dumps(model)
    assert len(pickled) < 500
    load_with_one_cpu = (
        "import os, sys, pickle; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "print(pickle.loads(sys.stdin.buffer.read()).threads)"
    )
    if hasattr(os, "sched_setaffinity"):
        done = subprocess.run([sys.executable, "-c", load_with_one_cpu], input=pickled, capture_output=True, check=True)
        assert done.stdout == b"1\n"


# Options


@pytest.mark.parametrize(
    "options",
    [{"threads": True}, {"threads": 2.5}, {"threads": "2"}, {"variant": None}, {"providers": 5}, {"providers": [5]}],
    ids=str,
)
def test_an_option_of_the_wrong_type_is_a_type_error_on_loading(tiny: Path, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        Embedder.load(tiny, **options)


@pytest.mark.parametrize("options", [{"prompt": 5}, {"prompt": b"x"}, {"progress": 1}, {"progress": None}], ids=str)
def test_an_option_of_the_wrong_type_is_a_type_error_before_the_work(
    prompted: Embedder, options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        prompted.embed(TEXTS, **options)


def test_integers_of_numpy_are_integers(tiny: Path) -> None:
    with Embedder.load(tiny, threads=np.int64(2)) as model:  # type: ignore[arg-type]
        assert model.threads == 2
        assert type(model.threads) is int
        assert model.embed(TEXTS, dimensions=np.uint8(8)).shape == (3, 8)  # type: ignore[call-overload]


def test_one_provider_is_a_name_or_a_list_of_one(tiny: Path) -> None:
    for providers in ("cpu", ["cpu"], ("CPUExecutionProvider",)):
        with Embedder.load(tiny, providers=providers) as model:
            assert model.variant == "int8"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "int9"}, ValueError, "precision='int9': give one or more of int8, fp16, fp32"),
        ({"precision": 8}, TypeError, "precision is int"),
        ({"via": "onnx"}, ValueError, "via='onnx': give 'auto' or 'optimum'"),
        ({"pooling": "median"}, ValueError, "pooling='median': choose one of cls, max, mean"),
        ({"max_tokens": "20"}, TypeError, "max_tokens='20' is str"),
        ({"max_tokens": True}, TypeError, "max_tokens=True is bool"),
        ({"query_prompt": 5}, TypeError, "prompt is int"),
        ({"query_prompt": "\ud83d"}, ValueError, "half of a surrogate pair"),
    ],
    ids=str,
)
def test_options_of_an_export_have_the_same_errors(
    tiny_checkpoint: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(tiny_checkpoint, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


# Progress


def test_progress_is_reported_to_a_function(prompted: Embedder) -> None:
    calls: list[tuple[int, int]] = []
    texts = ["a"] * 2500
    expected = prompted.embed(texts)
    vectors = prompted.embed(texts, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1024, 2500), (2048, 2500), (2500, 2500)]
    assert np.array_equal(vectors, expected)
    prompted.embed_queries(texts[:3], progress=lambda *call: calls.append(call))
    assert calls[3:] == [(3, 3)]


def test_a_function_for_progress_writes_nothing_and_may_stop_the_work(
    prompted: Embedder, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prompted.embed(["a"] * 2000, progress=stop)
    assert capfd.readouterr() == ("", "")
    assert prompted.embed(["a"]).shape == (1, 16)


# asyncio


def test_calls_by_asyncio_give_the_same_bits(tiny: Path) -> None:
    lists = [[f"text {i} of {n}" for i in range(n)] for n in range(1, 20)]
    with Embedder.load(tiny) as model:
        expected = [model.embed(texts).tobytes() for texts in lists]

        async def embed_all() -> list[FloatArray]:
            return await asyncio.gather(*(asyncio.to_thread(model.embed, texts) for texts in lists))

        assert [vectors.tobytes() for vectors in asyncio.run(embed_all())] == expected


# Types


def test_the_types_of_vectors_are_known(prompted: Embedder) -> None:
    assert_type(prompted.embed(["a"]), FloatArray)
    assert_type(prompted.embed(["a"], dtype="float32", dimensions=8), FloatArray)
    assert_type(prompted.embed(["a"], dtype="int8"), npt.NDArray[Any])
    assert_type(prompted.embed_queries(["a"]), FloatArray)
    assert_type(prompted.embed_query("a"), FloatArray)
    assert_type(prompted.embed_query("a", dtype="binary"), npt.NDArray[Any])
    assert_type(prompted.embed_iter(["a"]), Iterator[FloatArray])
    assert_type(embedge.similarity(prompted.embed(["a"]), [1.0] * 16), FloatArray)
    assert_type(prompted.count_tokens(text for text in ["a"]), list[int])
    assert_type(embedge.verify(prompted.path), list[embedge.Check])
