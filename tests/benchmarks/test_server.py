"""The benchmark of the server: what it holds it to, and the results that are kept."""

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.server.load import Load, request
from benchmarks.server.servers import SERVERS, Server, running
from benchmarks.server.tables import goals, table
from benchmarks.speed import environments
from benchmarks.speed.environments import Unavailable
from tests.cases import ROOT

_QUERIES = {"p50_ms": 5.0, "p99_ms": 9.0, "per_s": 200.0, "statuses": {"200": 900}, "errors": 0}
GOOD: dict[str, Any] = {
    "servers": {
        "embedge": {
            "label": "embedge int8",
            "versions": {"embedge": "1"},
            "lone": {"server_ms": 5.0, "library_ms": 4.0, "overhead_ms": 1.0},
            "texts_per_s": 90.0,
            "library_texts_per_s": 100.0,
            "queries": dict.fromkeys(("1", "16", "64", "256"), _QUERIES),
            "memory_mb": 150.0,
        }
    },
    "flood": {"statuses": {"200": 10, "429": 100}, "errors": 0, "wrong": 0},
    "soak": {
        "statuses": {"200": 1000},
        "errors": 0,
        "wrong": 0,
        "compared": 1000,
        "seconds": 600,
        "growth": 0.01,
        "settled_after_s": 60,
    },
}


def test_good_figures_meet_all_goals() -> None:
    assert all(goal["met"] for goal in goals(GOOD))


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, lambda found: found["servers"]["embedge"].update(texts_per_s=80.0)),
        (1, lambda found: found["servers"]["embedge"]["lone"].update(overhead_ms=2.0)),
        (2, lambda found: found["flood"]["statuses"].update({"503": 1})),
        (2, lambda found: found["flood"].update(errors=1)),
        (2, lambda found: found["flood"].update(wrong=1)),
        (3, lambda found: found["soak"].update(wrong=1)),
        (3, lambda found: found["soak"]["statuses"].update({"500": 1})),
        (4, lambda found: found["soak"].update(growth=0.06)),
    ],
)
def test_a_bad_figure_misses_its_goal(number: int, change: Callable[[dict[str, Any]], None]) -> None:
    found = copy.deepcopy(GOOD)
    change(found)
    assert [index for index, goal in enumerate(goals(found)) if not goal["met"]] == [number]


def test_requests_are_those_of_the_official_client_with_the_vectors_to_expect() -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = request(["one", "two"], "a-model", vectors)
    assert json.loads(made["body"]) == {"input": ["one", "two"], "encoding_format": "base64", "model": "a-model"}
    assert [np.frombuffer(base64.b64decode(row), "<f4").tolist() for row in made["vectors"]] == vectors.tolist()
    assert "model" not in json.loads(request(["one"], "")["body"])


def test_only_answers_with_vectors_count() -> None:
    assert Load(2.0, {"200": 10, "429": 90}, 0, 10, 0, 1.0, 2.0).per_s == 5


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho 'no such model' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr("benchmarks.server.servers.python_of", lambda name: tmp_path / "python")
    server = Server("broken", "none", (), None, lambda tools, *_: [tools / "server"], "/", "")
    with pytest.raises(Unavailable, match="no such model"), running(server, tmp_path, 1):
        pass


@pytest.mark.parametrize("server", SERVERS.values(), ids=lambda server: server.label)
def test_each_server_has_requirements_for_its_environment(server: Server) -> None:
    assert environments.requirements_of(server.environment).is_file()


def test_the_docs_have_the_table_of_the_results_that_are_kept() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "server.json").read_text(encoding="utf-8"))
    assert table(found) in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert goals(found) == found["goals"]
