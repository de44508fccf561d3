"""int8 is one variant with one set of weights, right on every CPU: by signed products where exact, else by unsigned."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, BundleError, Embedder, ProviderError
from embedge.engine.capabilities import Capabilities, capabilities
from embedge.engine.choose import choose
from embedge.engine.ort import CPU
from embedge.engine.weights import Unsigned
from embedge.manifest import Graph, Variant
from tests.cases import FORMS, start_form

SIGNED = Graph("signed", "ragged", needs=("exact_u8s8",), unsigned=False)
UNSIGNED = Graph("unsigned", "ragged", needs=(), unsigned=True)


def int8(*graphs: Graph) -> dict[str, Variant]:
    return {"int8": Variant(graphs, "weights", {}, devices=("cpu",), recipe="")}


# Which graph


@pytest.mark.parametrize("asked", ["auto", "int8"])
def test_int8_runs_on_every_cpu_by_the_fastest_graph_that_is_right_there(asked: str) -> None:
    variants = int8(SIGNED, UNSIGNED)
    assert choose(variants, asked, CPU, Capabilities(exact_u8s8=True, kernels=False)).graph == SIGNED
    assert choose(variants, asked, CPU, Capabilities(exact_u8s8=False, kernels=False)).graph == UNSIGNED


def test_a_graph_that_needs_what_this_version_does_not_know_is_passed_over() -> None:
    """Later versions may write graphs for kernels that are not here."""
    for unknown in (SIGNED._replace(needs=("native",)), SIGNED._replace(execution="native", needs=())):
        assert (
            choose(int8(unknown, UNSIGNED), "int8", CPU, Capabilities(exact_u8s8=True, kernels=False)).graph == UNSIGNED
        )
        with pytest.raises(ProviderError, match=r"'int8' can't run here: its graphs need native.*newer embedge"):
            choose(int8(unknown), "auto", CPU, Capabilities(exact_u8s8=True, kernels=False))


def test_auto_takes_the_first_variant_that_can_run_here() -> None:
    exact = int8(SIGNED)["int8"]
    variants = {"int8": exact, "fp32": Variant((Graph("fp32", "ragged", (), unsigned=False),), "", {}, ("any",), "")}
    assert choose(variants, "auto", CPU, Capabilities(exact_u8s8=True, kernels=False)).variant == "int8"
    assert choose(variants, "auto", CPU, Capabilities(exact_u8s8=False, kernels=False)).variant == "fp32"
    with pytest.raises(ProviderError, match="variant 'int8' can't run here: its graphs need exact_u8s8"):
        choose(variants, "int8", CPU, Capabilities(exact_u8s8=False, kernels=False))


def test_unknown_variants_are_named(bundle: Path) -> None:
    with pytest.raises(BundleError, match="'int4'; it has int8, fp32"):
        Embedder.load(bundle, variant="int4")


# What they compute


def test_unsigned_weights_are_exact_on_every_cpu(bundle: Path, fp32: Embedder, passages: list[str]) -> None:
    with start_form(bundle, "unsigned") as model:
        cosines = (model.embed(passages[:100]) * fp32.embed(passages[:100])).sum(axis=1)
    assert cosines.mean() > 0.9995


def test_both_forms_give_the_same_bits_exactly_where_the_probe_says_so(bundle: Path, passages: list[str]) -> None:
    """On a CPU whose products of signed weights saturate, that graph gives other vectors, and is not the one loaded."""
    with start_form(bundle, "signed") as signed, start_form(bundle, "unsigned") as unsigned:
        same = signed.embed(passages[:40]).tobytes() == unsigned.embed(passages[:40]).tobytes()
    assert same == capabilities().exact_u8s8


def test_what_is_loaded_without_kernels_has_the_bits_of_unsigned_weights(bundle: Path, passages: list[str]) -> None:
    texts = [*passages[:20], "", "okay thanks"]
    opened = Bundle.open(bundle)
    choice = choose(opened.manifest.variants, "int8", CPU, capabilities()._replace(kernels=False))
    with Embedder.start(opened, choice) as model, start_form(bundle, "unsigned", threads=2) as unsigned:
        assert model.embed(texts).tobytes() == unsigned.embed(texts).tobytes()
        assert model.embed_query("a text").tobytes() == unsigned.embed_query("a text").tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_either_form_gives_the_same_bits_in_every_batch(bundle: Path, passages: list[str], form: str) -> None:
    texts = [" ".join(text.split()[:count]) for text in passages[:30] for count in (2, 9, 40)]
    with start_form(bundle, form) as single, start_form(bundle, form, threads=2) as model:
        assert model.embed(texts).tobytes() == np.concatenate([single.embed([text]) for text in texts]).tobytes()


# The weights


def test_weights_are_turned_once_and_let_go_when_nobody_uses_them(copy: Path) -> None:
    variant = Bundle.open(copy).manifest.variants["int8"]
    path = copy / variant.weights
    first = Unsigned.load(path, variant.codes)
    assert Unsigned.load(path, variant.codes) is first
    codes = np.fromfile(path, np.int8)
    for name, tensor in variant.codes.items():
        stored = codes[tensor.offset : tensor.offset + np.prod(tensor.shape)].reshape(tensor.shape)
        assert np.array_equal(first.values[name].numpy().astype(np.int16) - 128, stored)
    kept = weakref.ref(first)
    del first
    gc.collect()
    assert kept() is None


def test_weights_are_turned_once_for_loads_at_the_same_moment(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = Bundle.open(bundle).manifest.variants["int8"]
    path = Path(shutil.copy(bundle / variant.weights, tmp_path))
    both = threading.Barrier(2)
    read: list[str] = []

    def counted(self: Path, *arguments: Any, opened: Callable[..., Any] = Path.open, **options: Any) -> Any:
        read.append(self.name)
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)

    def load() -> Unsigned:
        both.wait()
        return Unsigned.load(path, variant.codes)

    with ThreadPoolExecutor(2) as callers:
        first, second = callers.submit(load), callers.submit(load)
        assert first.result() is second.result()
    assert read == [path.name]


def test_closing_lets_the_turned_weights_go(copy: Path) -> None:
    variant = Bundle.open(copy).manifest.variants["int8"]
    with start_form(copy, "unsigned") as model:
        model.embed_query("a text")
        kept = weakref.ref(Unsigned.load(copy / variant.weights, variant.codes))
        assert kept() is not None
    gc.collect()
    assert kept() is None
    assert model.variant == "int8"  # the object lives


def test_weights_that_end_too_early_are_reported(copy: Path) -> None:
    variant = Bundle.open(copy).manifest.variants["int8"]
    path = copy / variant.weights
    os.truncate(path, max(tensor.offset + int(np.prod(tensor.shape)) for tensor in variant.codes.values()) - 1)
    with pytest.raises(BundleError, match=r"model\.int8\.bin is shorter than its manifest says"):
        Unsigned.load(path, variant.codes)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads its memory from Linux's /proc")
def test_two_embedders_share_one_copy_of_the_turned_weights(bge_small: Path) -> None:
    """21 MB of codes: two embedders and their sessions on packed weights take two packed copies more, not four."""
    code = """
import sys
from tests.cases import start_form
from pathlib import Path
def anonymous():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) / 1e3
models = []
used = [anonymous()]
for _ in range(3):
    models.append(start_form(Path(sys.argv[1]), "unsigned"))
    used.append(anonymous())
print(*used)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(bge_small)], capture_output=True, text=True, check=True, env=environment()
    )
    before, first, second, third = map(float, done.stdout.split())
    print(f"{before:.0f} MB before, then {first:.0f}, {second:.0f}, {third:.0f}")
    assert 21 <= first - before <= 40
    assert third - second <= 15


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
