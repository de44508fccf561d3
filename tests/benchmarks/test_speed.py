"""The benchmarks of ``make bench``: their texts, goals and tables, and one contender's worker run for real."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import goals, tables, texts
from benchmarks.speed.runner import constants_of, contender_names
from embedge import Embedder
from tests.cases import ROOT

RESULTS = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize("tokens", [8, 16, 32, 128])
def test_texts_have_the_tokens_they_are_named_for(tokens: int, model: Embedder) -> None:
    ids = model._tokenizer.encode(texts.texts_of(tokens, 20)).ids
    assert {len(text) for text in ids} == {tokens}
    assert len(set(texts.texts_of(tokens, 20))) == 20


def test_no_paragraph_that_is_measured_calibrates_a_contender() -> None:
    assert len(set(texts.corpus())) == 150
    assert len(texts.calibration_texts()) == 300
    assert not {*texts.corpus(), *texts.fidelity_texts()} & set(texts.calibration_texts())


def test_every_contender_names_what_the_runner_reads() -> None:
    names = contender_names()
    assert len(names) == 11
    for name in names:
        constants = constants_of(name)
        assert {"LABEL", "ENVIRONMENT", "PACKAGES", "FILES", "PREPARED_BY", "THREAD_SAFE"} <= set(constants)
        assert (ROOT / "benchmarks/speed/requirements" / f"{constants['ENVIRONMENT']}.txt").is_file()


def test_a_worker_tells_its_first_vector_and_then_what_it_measured(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(bundle)
    worker = ROOT / "benchmarks" / "speed" / "worker.py"
    command = [sys.executable, str(worker), "embedge_int8", str(tmp_path), "1", "quick"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert output[0] == "first vector"
    measured = json.loads(output[-1])
    assert measured["corpus"]["texts"] == 150
    assert 0 < measured["query_8"]["p50_ms"] < measured["documents_128"]["ms_per_text"]
    assert measured["callers_64"]["queries_per_s"] > 0
    assert measured["peak_rss_mb"] >= measured["first_rss_mb"] > 10


def contender(label: str, milliseconds: float, per_second: float) -> dict[str, Any]:
    def figure(value: float) -> dict[str, Any]:
        return {"median": value, "range": [value, value]}

    queries = {f"query_{n}": {"p50_ms": figure(milliseconds), "p99_ms": figure(milliseconds)} for n in (8, 16, 32)}
    documents = {f"documents_{n}": {"ms_per_text": figure(milliseconds)} for n in (128, 512)}
    return {
        "label": label,
        "versions": {"numpy": "2"},
        **queries,
        **documents,
        "corpus": {"texts_per_s": figure(per_second), "first_time_texts_per_s": figure(per_second)},
        "callers_64": {"error": "8 of 64 calls failed"},
        "cold_start_s": figure(0.2),
        "import_s": figure(0.1),
        "peak_rss_mb": figure(100.0),
        "installed_mb": 100.0,
        "files_mb": 35.0,
        "fidelity": {"mean_cosine": 0.9995, "min_cosine": 0.998},
    }


def results(ours: dict[str, Any], fastembed: dict[str, Any]) -> dict[str, Any]:
    contenders = {"embedge_int8": ours, "fastembed_int8": fastembed}
    return {
        "conditions": {
            "rounds": 1,
            "threads": 2,
            "cpu": "x",
            "cpu_features": [],
            "cpus": 2,
            "memory_gb": 1,
            "python": "3",
        },
        "contenders": contenders,
        "unavailable": {"other": "no wheel"},
        "goals": goals.goals(contenders),
    }


def test_goals_are_ratios_to_the_peers_and_say_which_are_missed() -> None:
    judged = goals.goals({"embedge_int8": contender("a", 3.0, 300.0), "fastembed_int8": contender("b", 5.0, 150.0)})
    found = {goal["goal"]: (goal["ratio"], goal["met"]) for goal in judged}
    assert found["latency of a query of 8 tokens, to the best peer (b)"] == (0.6, True)
    assert found["throughput of the corpus, to fastembed int8"] == (2.0, False)
    assert found["cold start, to fastembed int8"] == (1.0, False)
    assert found["throughput of the corpus, to OpenVINO int8"] == (None, False)


def test_the_table_shows_what_failed_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_speed(results(contender("embedge int8", 3.0, 300.0), contender("fastembed int8", 5.0, 50.0)))
    printed = capsys.readouterr().out
    assert "failed" in printed
    assert "other: not measured: no wheel" in printed
    assert "met    throughput of the corpus, to fastembed int8: 6.00 (6.00 to 6.00) (goal >= 3.00)" in printed


def test_the_readme_has_the_table_of_the_results_beside_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    speed = json.loads((RESULTS / "speed.json").read_text())
    assert tables.with_table(readme, speed) == readme
    assert tables.markdown(speed) in readme
    assert speed["goals"] == goals.goals(speed["contenders"])
