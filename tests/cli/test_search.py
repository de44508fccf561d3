"""``embedge search`` as a user meets it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder
from tests.cli.running import Cli


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Passages about cooking, space and weather on lines 1, 4 and 8."""
    path = tmp_path / "notes.txt"
    path.write_text(
        "Butter and flour make a roux,\nwhich thickens a soup.\n\n"
        "Jupiter is the largest planet;\nit has many moons.\n \n\n"
        "Rain fell on the harbour all night.\n"
    )
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
def test_search_prints_score_file_and_line_best_first(cli: Cli, bundle: Path, notes: Path, ending: str) -> None:
    notes.write_bytes(notes.read_text().replace("\n", ending).encode())
    assert cli("search", "--model", bundle, "how to cook a thick soup", notes) == 0
    found = [re.fullmatch(r"(-?\d\.\d{3})  (.+):(\d+)  (.+)", line) for line in cli.out.splitlines()]
    rows = [match.groups() for match in found if match]
    assert len(rows) == len(found) == 3
    assert rows[0][1:] == (str(notes), "1", "Butter and flour make a roux, which thickens a soup.")
    assert {row[2] for row in rows} == {"1", "4", "8"}
    scores = [float(row[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_search_scores_are_the_cosines_of_the_library(cli: Cli, bundle: Path, notes: Path, model: Embedder) -> None:
    assert cli("search", "--model", bundle, "--json", "--top", "2", "planets and moons", notes) == 0
    rows = [json.loads(line) for line in cli.out.splitlines()]
    texts = [text.strip() for text in re.split(r"\n\s*\n", notes.read_text())]
    scores = model.embed(texts) @ model.embed_query("planets and moons")
    best = np.argsort(-scores)[:2]
    assert [row["text"] for row in rows] == [texts[index] for index in best]
    assert [row["score"] for row in rows] == [round(float(scores[index]), 4) for index in best]
    assert [(row["file"], row["line"]) for row in rows] == [(str(notes), (1, 4, 8)[index]) for index in best]


def test_search_splits_a_long_paragraph_at_sentences_and_tells_their_lines(
    cli: Cli, bundle: Path, tmp_path: Path
) -> None:
    sentences = [f"Sentence number {n} is about the weather at sea and the ships of the harbour." for n in range(60)]
    sentences[45] = "Butter and flour make a roux, which thickens a soup."
    text = tmp_path / "long.txt"
    text.write_text("\n\n" + "\n".join(sentences) + "\n")
    assert cli("search", "--model", bundle, "--json", "--top", "99", "cooking a soup", text) == 0
    rows = sorted((json.loads(line) for line in cli.out.splitlines()), key=lambda row: row["line"])
    assert len(rows) > 3
    assert max(len(row["text"]) for row in rows) <= 1000
    assert "\n".join(row["text"] for row in rows) == "\n".join(sentences)
    lines = text.read_text().splitlines()
    assert all(lines[row["line"] - 1] == row["text"].splitlines()[0] for row in rows)


def test_search_loses_no_character_of_a_long_line_without_sentences(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "line.txt"
    text.write_text("x" * 2500)
    assert cli("search", "--model", bundle, "--json", "x", text) == 0
    rows = [json.loads(line) for line in cli.out.splitlines()]
    assert sorted(len(row["text"]) for row in rows) == [500, 1000, 1000]
    assert {row["line"] for row in rows} == {1}


def test_search_names_the_file_of_each_match(cli: Cli, bundle: Path, notes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Saturn has rings of ice.")
    assert cli("search", "--model", bundle, "--top", "2", "a planet", notes, other) == 0
    assert {f"{notes}:4", f"{other}:1"} == {line.split()[1] for line in cli.out.splitlines()}


@pytest.mark.parametrize(
    ("content", "told"), [(b"\x7fELF\0\0", "is not a text file"), (b" \n\n\t\n", "no text to search")]
)
def test_search_refuses_a_file_without_text(cli: Cli, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert told in cli.error("search", "query", tmp_path / "file")


def test_search_of_a_directory_or_a_missing_file_is_told_in_one_line(cli: Cli, tmp_path: Path) -> None:
    assert f"{tmp_path}: Is a directory" in cli.error("search", "query", tmp_path)
    assert f"{tmp_path / 'none'}: No such file" in cli.error("search", "query", tmp_path / "none")


def test_search_drops_a_byte_order_mark(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"\xef\xbb\xbfButter and flour make a roux.")
    assert cli("search", "--model", bundle, "--json", "soup", tmp_path / "notes.txt") == 0
    assert json.loads(cli.out)["text"] == "Butter and flour make a roux."


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_search_compares_by_the_models_own_measure(
    cli: Cli, tiny: Path, notes: Path, tmp_path: Path, measure: Any
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    manifest = Bundle.open(tiny).manifest._replace(similarity=measure, normalized=False)
    (copy / "manifest.json").write_bytes(manifest.to_bytes())
    assert cli("search", "--model", copy, "--json", "--top", "9", "a planet", notes) == 0
    found = [json.loads(line) for line in cli.out.splitlines()]
    with Embedder.load(copy) as model:
        vectors, query = model.embed([row["text"] for row in found]), model.embed_query("a planet")
    scores = {
        "cosine": vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query),
        "dot": vectors @ query,
        "euclidean": -np.sqrt(((vectors - query) ** 2).sum(axis=1)),
        "manhattan": -np.abs(vectors - query).sum(axis=1),
    }[measure]
    assert np.allclose([row["score"] for row in found], scores, atol=1e-3)
    assert list(scores) == sorted(scores, reverse=True)
