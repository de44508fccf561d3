"""``embedge rerank``, and ``embedge search --rerank``."""

import json
import shutil
from pathlib import Path

import pytest

from embedge import Reranker
from embedge_export import export
from tests.cases import write_checkpoint
from tests.cli.running import Cli, lines_of
from tests.layouts import write_reranker

TEXTS = ["yeast makes gas", "boats on the sea", "bread"]


@pytest.fixture(scope="module")
def reranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reranker")
    export(write_reranker(write_checkpoint(place / "tiny", minilm, None)), place / "bundle", precision=["fp32"])
    return place / "bundle"


def test_texts_are_printed_by_their_scores(reranker: Path, cli: Cli) -> None:
    with Reranker.load(reranker) as model:
        expected = model.rank("why?", TEXTS)
    assert cli("rerank", "--model", reranker, "--json", "why?", *TEXTS) == 0
    found = [json.loads(line) for line in cli.out.splitlines()]
    assert [row["index"] for row in found] == [row.index for row in expected]
    assert [row["text"] for row in found] == [TEXTS[row.index] for row in expected]
    assert cli("rerank", "--model", reranker, "--top", "1", "why?", *TEXTS) == 0
    assert cli.out == f"{expected[0].score:.4f}  {TEXTS[expected[0].index]}\n"


def test_search_in_two_stages(reranker: Path, tiny: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("\n\n".join(TEXTS))
    options = ("--model", tiny, "--json", "--top", "3")
    assert cli("search", *options, "why?", tmp_path / "notes.txt") == 0
    one_stage = {json.loads(line)["text"] for line in cli.out.splitlines()}
    assert cli("search", *options, "--rerank", reranker, "why?", tmp_path / "notes.txt") == 0
    found = [json.loads(line) for line in cli.out.splitlines()]
    assert {row["text"] for row in found} == one_stage
    with Reranker.load(reranker) as model:
        scores = model.scores([("why?", row["text"]) for row in found]).tolist()
    assert scores == sorted(scores, reverse=True)


def test_each_command_takes_the_only_bundle_of_its_kind(
    reranker: Path, tiny: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(reranker, tmp_path / "models" / "reranker")
    shutil.copytree(tiny, tmp_path / "models" / "embedder")
    assert cli("rerank", "why?", *TEXTS) == 0
    assert len(cli.out.splitlines()) == 3
    assert cli("embed", "a text") == 0
    assert len(lines_of(cli.out)) == 1
    assert "load it with Embedder" in cli.error("rerank", "--model", "models/embedder", "why?", *TEXTS)
