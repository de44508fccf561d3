"""What is installed by ``pip install embedge``, and the names it offers."""

import json
import os
import re
import subprocess
import sys
import tarfile
import types
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedge
import embedge_export
from embedge import errors
from tests.cases import ROOT
from tests.kernels.running import start
from tests.project.conftest import Distributions, skip_where_no_index


@pytest.fixture(scope="module")
def names(built: Distributions) -> list[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(built.wheel) as wheel:
        return wheel.namelist()


@pytest.fixture(scope="module")
def metadata(built: Distributions) -> Any:
    """The wheel's fields for a package index."""
    with zipfile.ZipFile(built.wheel) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(wheel.read(name).decode())


@pytest.fixture(scope="module")
def environment(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment in which pip installed the wheel with what it depends on; its programs' directory."""
    directory = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    programs = directory / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check"]
    options = ["--no-compile", "--retries", "1", "--timeout", "20"]
    done = subprocess.run([*pip, "install", *options, str(built.wheel)], capture_output=True, text=True)
    skip_where_no_index(done)
    assert done.returncode == 0, done.stderr
    return programs


def run(program: Path, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that was installed, away from the source tree."""
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, encoding="utf-8", cwd=program.parent, **options
    )


def test_the_installed_program_prints_its_version(environment: Path) -> None:
    done = run(environment / "embedge", "--version")
    assert (done.returncode, done.stdout) == (0, f"embedge {embedge.__version__}\n")


def test_the_base_install_has_none_of_the_packages_for_export(environment: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([d.name.lower() for d in m.distributions()]))"
    installed = set(json.loads(run(environment / "python", "-c", code).stdout))
    assert {"embedge", "numpy", "onnxruntime", "tokenizers"} <= installed
    assert installed.isdisjoint({"torch", "onnx", "transformers", "optimum", "optimum-onnx", "safetensors", "scipy"})


def test_the_base_install_embeds_as_the_source_tree_does_without_the_kernels(environment: Path, bundle: Path) -> None:
    done = run(environment / "embedge", "embed", "--model", bundle, "A ferry crosses the harbour.")
    assert (done.returncode, done.stderr) == (0, "")
    vector = np.array(json.loads(done.stdout)["embedding"], np.float32)
    with start(bundle, needs_kernels=False) as model:
        assert np.array_equal(vector, model.embed(["A ferry crosses the harbour."])[0])


def test_the_base_install_searches(environment: Path, bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Butter and flour make a roux.\n\nJupiter is the largest planet.\n")
    done = run(environment / "embedge", "search", "--model", bundle, "--top", "1", "astronomy", text)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{text}:3" in done.stdout


def test_export_in_the_base_install_says_which_extra_to_install(
    environment: Path, minilm: Path, tmp_path: Path
) -> None:
    done = run(environment / "embedge", "export", minilm, tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'embedge[export]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_has_the_files_that_are_not_code(names: list[str]) -> None:
    assert {
        "embedge/py.typed",
        "embedge_export/py.typed",
        "embedge_export/checkpoint/registry.toml",
        "embedge_export/quantize/texts.txt",
    } | {f"embedge/server/static/{path.name}" for path in (ROOT / "runtime/embedge/server/static").iterdir()} <= set(
        names
    )
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_has_every_module_of_the_source_tree(names: list[str]) -> None:
    modules = [
        path.relative_to(tree).as_posix()
        for tree, package in ((ROOT / "runtime", "embedge"), (ROOT / "export", "embedge_export"))
        for path in (tree / package).rglob("*.py")
    ]
    assert len(modules) > 20
    assert set(modules) <= set(names)


def test_the_wheel_has_nothing_beside_the_two_packages(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"embedge", "embedge_export", f"embedge-{embedge.__version__}.dist-info"}
    unwanted = [name for name in names if "test" in name.lower() or name.endswith((".pyc", ".onnx", ".bin"))]
    assert unwanted == ["embedge/engine/probe.onnx"]


def test_the_source_archive_has_the_tests_and_no_model(built: Distributions) -> None:
    with tarfile.open(built.sources) as archive:
        names = archive.getnames()
    assert any(name.endswith("/tests/conftest.py") for name in names)
    models = [name for name in names if name.endswith((".onnx", ".bin", ".safetensors", "manifest.json"))]
    assert [Path(name).name for name in models] == ["probe.onnx"]


def test_the_base_install_depends_on_three_packages(metadata: Any) -> None:
    needed = [field for field in metadata.get_all("Requires-Dist") if "extra ==" not in field]
    assert sorted(re.split(r"[<>=!~ ]", field)[0] for field in needed) == ["numpy", "onnxruntime", "tokenizers"]


def test_the_wheel_states_its_version_licence_and_python(metadata: Any) -> None:
    fields = metadata["Version"], metadata["License-Expression"], metadata["Requires-Python"]
    assert fields == (embedge.__version__, "MIT", ">=3.11")
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_a_fresh_interpreter_lists_exactly_the_public_names() -> None:
    code = "import embedge, json; print(json.dumps([embedge.__all__, dir(embedge)]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    public, listed = json.loads(done.stdout)
    assert public == sorted(public)
    assert [name for name in listed if name == "__version__" or not name.startswith("_")] == public


@pytest.mark.parametrize("name", embedge.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(embedge, name) is not None
    assert name == "__version__" or getattr(embedge, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Embeder'"):
        _ = embedge.Embeder


def test_every_class_that_embedge_defines_at_its_top_is_public() -> None:
    classes = {name for name, value in vars(embedge).items() if isinstance(value, type)}
    assert classes <= set(embedge.__all__)


def test_embedge_export_offers_exactly_its_public_names() -> None:
    public = {
        name
        for name, value in vars(embedge_export).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(embedge_export.__all__)


def error_classes() -> list[type[BaseException]]:
    return [value for value in vars(errors).values() if isinstance(value, type)]


def test_every_error_is_public() -> None:
    assert len(error_classes()) == 10
    assert {kind.__name__ for kind in error_classes()} <= set(embedge.__all__)


def test_the_tree_in_the_errors_docstring_is_the_classes_tree() -> None:
    drawn: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([ │├└─]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            above[depth] = found[2]
            drawn[found[2]] = above[depth - 1] if depth else "Exception"
    # An error that is also a built-in one has its place below embedge's.
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in error_classes()}
