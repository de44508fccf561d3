"""The examples for Node.js, with the packages that they name: the library's vectors from the same files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.edge.node_packages import NodePackages, node_packages
from benchmarks.speed.environments import Unavailable
from embedge.vectors import FloatArray
from tests.cases import start_form

TEXTS = ["", "a", "東京の夜は静かだ", "한국어 텍스트", "😀👍🏽 [SEP] naïve café", "a NUL\0 inside", "word " * 700]
# Loads one of the examples, and embeds the texts on standard input with the options that are given.
SCRIPT = """
import { readFileSync } from "node:fs";
const [example, model, options] = process.argv.slice(2);
const { load } = await import(example);
const { embed } = await load(model);
const vectors = await embed(JSON.parse(readFileSync(0, "utf8")), JSON.parse(options));
console.log(JSON.stringify(vectors.map((vector) => [...vector])));
"""


@pytest.fixture(scope="module")
def packages(kept: Path) -> NodePackages:
    try:
        return node_packages(kept / "node")
    except Unavailable as exc:
        pytest.skip(str(exc))


def run(packages: NodePackages, example: str, model: Path, texts: list[str], options: Any) -> FloatArray:
    """The vectors that an example gives in a program that imports it."""
    # By its first argument an example knows that it is not the program itself.
    arguments = map(str, ["a program", packages.place / example, model, json.dumps(options)])
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", SCRIPT, *arguments],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return np.array(json.loads(done.stdout), np.float32)


def assert_alike(one: FloatArray, other: FloatArray) -> None:
    """Its ONNX Runtime is of another version, which may round otherwise."""
    assert np.einsum("td,td->t", one, other).min() > 0.99999


@pytest.mark.filterwarnings("ignore:.*truncated:UserWarning")
def test_a_bundle_gives_the_librarys_vectors(packages: NodePackages, bundle: Path, passages: list[str]) -> None:
    texts = [*TEXTS, *passages[::20]]
    with start_form(bundle, "unsigned") as model:
        assert_alike(run(packages, "embed.mjs", bundle, texts, ""), model.embed(texts))


def test_a_query_prompt_is_put_in_front(packages: NodePackages, tiny: Path) -> None:
    with start_form(tiny, "unsigned") as model:
        assert_alike(run(packages, "embed.mjs", tiny, ["a query"], "old: "), model.embed(["old: a query"]))


@pytest.mark.parametrize("form", ["tiny_onnx", "tiny_ort"])
def test_a_single_file_gives_the_librarys_vectors(
    packages: NodePackages, tiny: Path, form: str, request: pytest.FixtureRequest
) -> None:
    file, texts = request.getfixturevalue(form), TEXTS[:-1]
    with start_form(tiny, "unsigned") as model:
        assert_alike(run(packages, "single_file.mjs", file, texts, {}), model.embed(texts))
        queries = np.array([model.embed_query(text) for text in texts])
        assert_alike(run(packages, "single_file.mjs", file, texts, {"query": True}), queries)


def test_the_example_prints_a_vector_for_each_text(packages: NodePackages, tiny: Path) -> None:
    command = ["node", packages.place / "embed.mjs", tiny, "a text", "another"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    with start_form(tiny, "unsigned") as model:
        printed = np.array([json.loads(line) for line in done.stdout.splitlines()], np.float32)
        assert_alike(printed, model.embed(["a text", "another"]))
