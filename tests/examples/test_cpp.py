"""The example in C++, compiled and run with the ONNX Runtime that Python's package brings."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from embedge.engine.ort import onnxruntime
from tests.cases import ROOT, start_form

TEXTS = ["a text", "", "東京の夜は静かだ", "another text, longer than the first"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a header that stands in for ONNX Runtime's, which no package index has."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1*"))
    if not compiler or not libraries:
        pytest.skip("no C++ compiler here, or no libonnxruntime.so in Python's package")
    place = tmp_path_factory.mktemp("cpp")
    (place / "libonnxruntime.so.1").symlink_to(libraries[0])  # its own name for itself
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(ROOT / "tests" / "examples" / "include")]
    source = ROOT / "examples" / "cpp" / "embed.cpp"
    command = [compiler, *options, source, "-o", place / "embed", place / "libonnxruntime.so.1", f"-Wl,-rpath,{place}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "embed"


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
