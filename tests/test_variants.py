"""Which variant runs on which CPU. CPUs without VNNI are emulated by `make isa`; here the probe's answer is set."""

from pathlib import Path

import pytest
from conftest import MakeCheckpoint

from embedge import Bundle, BundleError, Embedder, ProviderError
from embedge.engine import choose as variants
from embedge.engine import sessions as session
from embedge_export import export, pipeline


@pytest.fixture
def overflowing_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "int8_is_exact", lambda: False)


@pytest.fixture
def exact_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "int8_is_exact", lambda: True)


@pytest.mark.usefixtures("exact_cpu")
def test_int8_runs_where_it_is_exact(bundle: Path) -> None:
    with Embedder.load(bundle) as model:
        assert model.variant == "int8"


@pytest.mark.usefixtures("overflowing_cpu")
def test_the_reduced_variant_runs_where_int8_overflows(bundle: Path) -> None:
    with Embedder.load(bundle) as model:
        assert model.variant == "int8-reduced"


@pytest.mark.usefixtures("overflowing_cpu")
def test_int8_is_refused_where_it_overflows_and_the_one_to_use_is_named(bundle: Path) -> None:
    with pytest.raises(ProviderError, match="use variant 'int8-reduced'"):
        Embedder.load(bundle, variant="int8")


@pytest.mark.usefixtures("overflowing_cpu")
def test_a_bundle_without_a_right_variant_is_refused(bundle: Path) -> None:
    only = {"int8": Bundle.open(bundle).manifest.variants["int8"]}
    with pytest.raises(ProviderError, match="export the checkpoint again"):
        variants.choose_variant(only, "auto")


def test_unknown_variants_are_named(bundle: Path) -> None:
    with pytest.raises(BundleError, match="'int4'; it has fp32, int8, int8-reduced"):
        Embedder.load(bundle, variant="int4")


def test_the_probe_is_right_about_this_cpu(bundle: Path, fp32: Embedder, passages: list[str]) -> None:
    """What the probe calls exact gives the vectors that int8 should; what it does not, does not."""
    files = Bundle.open(bundle).manifest.variants["int8"]
    engine = session.Engine(
        bundle / files.graph, bundle / files.weights, threads=1, providers=["CPUExecutionProvider"], integer=True
    )
    with Embedder.load(bundle, variant="fp32", threads=1) as model:
        model._workers._model = engine
        cosines = (model.embed(passages[:40]) * fp32.embed(passages[:40])).sum(axis=1)
    assert (cosines.mean() > 0.999) == variants.int8_is_exact()


def test_a_cpu_that_can_not_check_int8_writes_the_reduced_variant_only(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "int8_is_exact", lambda: False)
    steps: list[str] = []
    report = export(make_checkpoint(), tmp_path / "out", on_step=steps.append)
    assert set(report.manifest.variants) == {"int8-reduced"}
    assert any("leaving out int8" in step for step in steps)
