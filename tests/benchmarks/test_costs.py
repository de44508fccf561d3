"""What starts, exports and runs cost: the programs that measure it, on small models, and the results that are kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from benchmarks import export_cost, long_texts, operators, sizes, start
from benchmarks.checkpoints import Size, multilingual_tokenizer
from benchmarks.machine import cpu_kind, machine
from benchmarks.speed import texts
from embedge import Bundle, Embedder
from embedge.engine.capabilities import capabilities


def kept(path: Path) -> dict[str, Any]:
    """A results file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_start_is_measured_by_step_beside_the_imports_alone(tiny: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny, tmp_path / "bundle"))
    found = start.measure(bundle, rounds=2)
    whole = found["seconds"]["first_vector"]
    assert whole["min"] <= whole["median"] <= whole["max"]
    assert "import numpy" in found["steps"]
    assert list(found["steps"])[-1] == "first run"
    assert all(step["min"] >= 0 for step in found["steps"].values())
    assert found["peak_mb"] > 20
    printed = start.table({"machine": machine(), **found})
    assert f"{found['to_libraries']['first_vector']['median']:.2f}" in printed


def test_an_export_is_measured_by_step_without_torch(tiny_checkpoint: Path, tmp_path: Path) -> None:
    found = export_cost.measure(tiny_checkpoint, tmp_path / "bundle")
    Bundle.open(tmp_path / "bundle").verify()
    names = [step["step"] for step in found["steps"]]
    assert names[0] == "importing the exporter"
    assert names.count("quantizing the layers") == 1
    assert abs(sum(step["seconds"] for step in found["steps"]) - found["seconds"]) < 0.1 * found["seconds"] + 0.1
    assert found["peak_mb"] == max(step["peak_mb"] for step in found["steps"]) > 20
    assert not found["torch_loaded"]
    assert "torch loaded: no" in export_cost.table({"machine": machine(), **found})


def test_the_shares_of_operators_are_of_the_graph_that_runs(tiny: Path) -> None:
    found = operators.measure(tiny, lengths=(16, 32), runs=3)
    for tokens in ("16", "32"):
        shares = found["tokens"][tokens]["shares"]
        assert sum(shares.values()) == pytest.approx(1, abs=0.01)
        assert shares["MatMulIntegerToFloat"] > 0
        assert shares["LayerNormalization"] > 0
    assert "| `MatMulIntegerToFloat` |" in operators.table({"machine": machine(), **found})
    # It leaves the bundle as it was.
    Bundle.open(tiny).verify()


def test_a_model_of_any_size_is_exported_started_and_run(tmp_path: Path) -> None:
    size = Size(layers=1, hidden=64, heads=4, max_tokens=520)
    row = {**sizes.export_kept(size, tmp_path / "bundle"), **sizes.run(tmp_path / "bundle", rounds=1)}
    with Embedder.load(tmp_path / "bundle") as model:
        assert (model.dimensions, model.max_tokens) == (64, 520)
    assert row["parameters_m"] == pytest.approx(30522 * 64 / 1e6, rel=0.1)
    assert list(row["ms"]) == ["16", "128", "512"]
    assert min(row["ms"].values()) > 0
    assert row["start"]["read_tokenizer_s"]["median"] < row["start"]["first_vector_s"]["median"]
    printed = sizes.table({"machine": machine(), "models": {"small": row}})
    assert "| small: 12 layers, 384 |" in printed


def test_the_model_of_many_languages_has_as_many_words_and_reads_english(minilm: Path) -> None:
    """A random vocabulary, so that a tokenizer costs what XLM-R's does."""
    own = json.loads((minilm / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(multilingual_tokenizer(own)))
    assert tokenizer.get_vocab_size() == 250_002
    for tokens in (16, 128):
        assert {len(tokenizer.encode(text).ids) for text in texts.texts_of(tokens, 5)} == {tokens}


def test_a_long_text_is_measured_by_what_it_adds_to_a_short_one(tiny: Path) -> None:
    (found,) = long_texts.measure(tiny, [512])
    assert found["tokens"] == 512
    assert found["ms"] > 0
    assert found["added_mb"] >= found["kept_mb"]


def test_the_memory_of_a_long_text_grows_with_its_length_and_not_with_the_square() -> None:
    rows = kept(sizes.RESULTS)["models"]["small-8192"]["texts"]
    assert [row["tokens"] for row in rows] == [1024, 2048, 4096, 8192]
    per_token = [row["added_mb"] / row["tokens"] for row in rows]
    assert max(per_token) < 1.3 * min(per_token)


@pytest.mark.parametrize("module", [start, export_cost, operators, sizes], ids=lambda module: module.__name__)
def test_results_say_what_they_were_measured_on(module: Any) -> None:
    results = kept(module.RESULTS)
    assert set(results["machine"]) == set(machine())
    assert results["machine"]["cpu"] in module.table(results)


def test_a_cpu_is_of_the_kind_of_its_int8_instructions() -> None:
    """Where the kind is "vnni", the kernels are exact on signed weights."""
    assert cpu_kind() != "vnni" or capabilities().exact_u8s8
    assert cpu_kind() != "avx2" or not capabilities().exact_u8s8
