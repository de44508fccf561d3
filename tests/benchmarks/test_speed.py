"""The benchmarks of ``make bench``: their texts, goals and tables, and one contender's worker run for real."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.checkpoints import write_reranker
from benchmarks.machine import machine
from benchmarks.speed import goals, publish, tables, texts
from benchmarks.speed.contenders import Knobs, by_length
from benchmarks.speed.entries import find, with_tuned
from benchmarks.speed.runner import constants_of, contender_names
from embedge import Embedder, Reranker
from embedge_export import export
from tests.cases import ROOT


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
    assert len(names) == 13
    for name in names:
        constants = constants_of(name)
        assert {"LABEL", "ENVIRONMENT", "PACKAGES", "FILES", "PREPARED_BY", "THREAD_SAFE"} <= set(constants)
        assert [Knobs(**knobs) for knobs in constants["CANDIDATES"]] or name.startswith("embedge")
        assert (ROOT / "benchmarks/speed/requirements" / f"{constants['ENVIRONMENT']}.txt").is_file()


def test_every_reranker_names_what_the_runner_reads() -> None:
    names = contender_names("rerankers")
    assert names == [f"rerankers.{name}" for name in ("embedge_fp32", "embedge_int8", "fastembed_fp32", "st_torch")]
    for name in names:
        constants = constants_of(name)
        assert (ROOT / "benchmarks/speed/requirements" / f"{constants['ENVIRONMENT']}.txt").is_file()
        assert [Knobs(**knobs) for knobs in constants["CANDIDATES"]] or "embedge" in name
    assert not set(names) & set(contender_names())


def test_the_fastest_candidate_is_the_tuned_row_beside_the_default_one() -> None:
    found = {"batch 1": 40.0, "batch 8, sorted": 50.0, "batch 32, sorted": 45.0}
    default, tuned = with_tuned(find("optimum_int8"), found)
    assert (default.name, default.label, default.tuned) == ("optimum_int8", "optimum int8", False)
    assert (tuned.name, tuned.tuned) == ("optimum_int8_tuned", True)
    assert tuned.label == "optimum int8, tuned (batch 8, sorted)"
    assert tuned.knobs == Knobs(batch=8, sort=True)


def test_defaults_that_are_the_fastest_are_one_row_on_which_goals_are_judged() -> None:
    (only,) = with_tuned(find("st_torch"), {"batch 1": 10.0, "batch 8": 15.0, "defaults": 16.0})
    assert (only.name, only.label, only.tuned) == (
        "st_torch",
        "sentence-transformers, torch (tuned: its defaults)",
        True,
    )
    (ours,) = with_tuned(find("embedge_int8"), {})
    assert (ours.name, ours.label, ours.tuned) == ("embedge_int8", "embedge int8", True)


def test_texts_sorted_by_length_come_back_in_their_order() -> None:
    some = ["aa", "a", "aaaa", "aaa", "b"]
    given: list[list[str]] = []

    def embed(texts: list[str]) -> Any:
        given.append(texts)
        return np.array([[len(text), ord(text[0])] for text in texts])

    assert by_length(embed)(some).tolist() == embed(some).tolist()
    assert given[0] == ["aaaa", "aaa", "aa", "a", "b"]


def test_a_worker_says_its_first_vector_and_then_what_it_measured(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(bundle)
    worker = ROOT / "benchmarks" / "speed" / "worker.py"
    command = [sys.executable, str(worker), "embedge_int8", str(tmp_path), "1", "quick", '{"sort": true}']
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert output[0] == "first vector"
    measured = json.loads(output[-1])
    assert measured["corpus"]["texts"] == 150
    assert 0 < measured["query_8"]["p50_ms"] < measured["documents_128"]["ms_per_text"]
    assert measured["callers_64"]["queries_per_s"] > 0
    assert measured["peak_rss_mb"] >= measured["first_rss_mb"] > 10


def test_a_worker_ranks_candidates_for_a_query(tmp_path: Path) -> None:
    write_reranker(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "bundle", precision="fp32")
    worker = ROOT / "benchmarks" / "speed" / "worker.py"
    command = [sys.executable, str(worker), "rerankers.embedge_fp32", str(tmp_path), "1"]
    output = subprocess.run([*command, "rank", "{}"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert output[0] == "first vector"
    measured = json.loads(output[-1])
    for work in ("of_100_tokens", "paragraphs"):
        assert measured[work]["pairs_per_s"] == pytest.approx(32e3 / measured[work]["ms"])
    output = subprocess.run([*command, "vectors", "{}"], capture_output=True, text=True, check=True).stdout.splitlines()
    with Reranker.load(tmp_path / "bundle") as model:
        expected = model.scores([(texts.QUERY, text) for text in texts.fidelity_texts()])
    assert json.loads(output[-1])["vectors"] == expected.tolist()


def test_candidates_have_the_tokens_they_are_named_for(model: Embedder) -> None:
    ids = model._tokenizer.encode([texts.QUERY, *texts.candidates()["of_100_tokens"]]).ids
    assert [len(text) - 2 for text in ids] == [10, *[100] * 32]
    assert len(set(texts.candidates()["paragraphs"])) == 32


def contender(label: str, milliseconds: float, per_second: float) -> dict[str, Any]:
    def figure(value: float) -> dict[str, Any]:
        return {"median": value, "range": [value, value]}

    queries = {f"query_{n}": {"p50_ms": figure(milliseconds), "p99_ms": figure(milliseconds)} for n in (8, 16, 32)}
    documents = {f"documents_{n}": {"ms_per_text": figure(milliseconds)} for n in (128, 512)}
    return {
        "label": label,
        "contender": label,
        "tuned": True,
        "packages": [label],
        "versions": {"numpy": "2"},
        **queries,
        **documents,
        "corpus": {"texts_per_s": figure(per_second), "first_time_texts_per_s": figure(per_second), "passes": 2},
        "callers_64": {"error": "8 of 64 calls failed"},
        "cold_start_s": figure(0.2),
        "import_s": figure(0.1),
        "peak_rss_mb": figure(100.0),
        "installed_mb": 100.0,
        "files_mb": 35.0,
        "fidelity": {"mean_cosine": 0.9995, "min_cosine": 0.998},
    }


def results() -> dict[str, Any]:
    contenders = {
        "embedge_int8": contender("embedge_int8", 3.0, 300.0),
        "fastembed_int8": {**contender("fastembed_int8", 5.0, 5.0), "tuned": False},
        "fastembed_int8_tuned": {**contender("fastembed_int8", 5.0, 50.0), "label": "fastembed int8, tuned (batch 8)"},
    }
    return {
        "conditions": {"rounds": 5, "threads": 2, **machine()},
        "searched_texts_per_s": {"fastembed_int8": {"batch 1": 49.0, "batch 8": 50.0}},
        "contenders": contenders,
        "unavailable": {"other": "no wheel"},
        "goals": goals.goals(contenders),
    }


def test_goals_are_ratios_to_the_tuned_peers_and_say_which_are_missed() -> None:
    found = {goal["goal"]: (goal["ratio"], goal["met"]) for goal in results()["goals"]}
    assert found["latency of a query of 8 tokens, to the best peer (fastembed int8, tuned (batch 8))"] == (0.6, True)
    assert found["throughput of the corpus, to fastembed int8"] == (6.0, True)
    assert found["cold start, to fastembed int8"] == (1.0, False)
    assert found["throughput of the corpus, to OpenVINO int8"] == (None, False)


def test_the_kernels_have_goals_of_their_own_where_they_were_measured() -> None:
    stock = results()["contenders"]
    found = {goal["goal"]: goal for goal in goals.goals({**stock, "kernels": contender("embedge_kernels", 2.0, 99.0)})}
    latency = found[
        "with the kernels, latency of a query of 8 tokens, to the best peer (fastembed int8, tuned (batch 8))"
    ]
    assert (latency["ratio"], latency["bound"], latency["met"]) == (0.4, "<= 0.60", True)
    assert found["with the kernels, throughput of the corpus, to llama.cpp Q8_0"]["ratio"] is None
    assert not any("kernels" in goal["goal"] for goal in goals.goals(stock))


def test_the_table_shows_what_failed_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_speed(results())
    printed = capsys.readouterr().out
    assert "failed" in printed
    assert "other: not measured: no wheel" in printed
    assert "met    throughput of the corpus, to fastembed int8: 6.00 (6.00 to 6.00) (goal >= 3.00)" in printed


def test_the_summary_has_embedge_and_the_tuned_peers_with_the_machine() -> None:
    lines = tables.summary(results()).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == [
        "**embedge_int8**",
        "fastembed int8, tuned (batch 8)",
    ]
    assert f"Medians of 5 rounds, 2 threads, {machine()['cpu']} (" in lines[-1]


def test_a_page_is_filled_between_its_marks_and_nowhere_else() -> None:
    page = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\nkept\n<!-- end -->\n"
    assert publish.filled(page, "x", "new") == page.replace("\nold\n", "\n\nnew\n\n")
    with pytest.raises(ValueError, match="no <!-- z -->"):
        publish.filled(page, "z", "new")


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert publish.published(text, publish.speed_results(), publish.RESULTS) == text


def test_goals_that_are_kept_are_those_of_the_figures_beside_them() -> None:
    for speed in publish.speed_results():
        assert speed["goals"] == goals.goals(speed["contenders"])
        assert speed["conditions"]["rounds"] >= 3
