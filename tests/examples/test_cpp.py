"""The example in C++, compiled and run with the ONNX Runtime that Python's package brings."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edge import cpp
from benchmarks.speed.environments import Unavailable
from tests.cases import start_form

TEXTS = ["a text", "", "東京の夜は静かだ", "another text, longer than the first"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return cpp.build(tmp_path_factory.mktemp("cpp"))
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize("form", ["tiny_onnx", "tiny_ort"])
def test_it_prints_the_librarys_vectors(program: Path, tiny: Path, form: str, request: pytest.FixtureRequest) -> None:
    file = request.getfixturevalue(form)
    done = subprocess.run([program, file, *TEXTS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    vectors = np.array([line.split() for line in done.stdout.splitlines()], np.float32)
    with start_form(tiny, "unsigned") as model:
        assert np.array_equal(vectors, model.embed(TEXTS))


def test_it_says_what_is_wrong(program: Path, tmp_path: Path) -> None:
    done = subprocess.run([program, tmp_path / "none.onnx", "a"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "none.onnx" in done.stderr
