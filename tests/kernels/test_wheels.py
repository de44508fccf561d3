"""The wheel of the kernels for this machine: its bytes, its files, its symbols, and that pip installs it."""

import ctypes
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import recipe
from recipe import EXPORTS, TARGETS, CannotCompile, compile_library, compile_sources, native_target
from symbols import read_symbols, read_weak
from tests.cases import ROOT
from wheels import BadWheel, build_wheel, check_paths, check_symbols

pytestmark = pytest.mark.wheels

KERNELS = ROOT / "runtime" / "kernels"
VERSION = re.search(r'__version__ = "(.+)"', (KERNELS / "embedge_kernels" / "__init__.py").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built for this platform."""
    return build_wheel(native_target(), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def library(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared library in it."""
    with zipfile.ZipFile(wheel) as archive:
        name = f"embedge_kernels/{native_target().library}"
        return Path(archive.extract(name, tmp_path_factory.mktemp("library")))


def write_source(directory: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> recipe.Target:
    """Make the recipe's sources one file with ``text``, and return the target that is made of it."""
    (directory / "one.cpp").write_text(text)
    monkeypatch.setattr(recipe, "SOURCES", directory)
    return replace(native_target(), sources={"one.cpp": ()})


def test_two_builds_have_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel(native_target(), tmp_path).read_bytes() == wheel.read_bytes()


def test_the_wheel_is_for_every_python_on_this_platform(wheel: Path) -> None:
    assert VERSION
    assert wheel.name == f"embedge_kernels-{VERSION[1]}-py3-none-{native_target().tag}.whl"


def test_the_wheel_has_the_library_and_nothing_unwanted(wheel: Path) -> None:
    assert VERSION
    about = f"embedge_kernels-{VERSION[1]}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert sorted(names) == [
        f"{about}/METADATA",
        f"{about}/RECORD",
        f"{about}/WHEEL",
        f"{about}/licenses/LICENSE",
        "embedge_kernels/__init__.py",
        f"embedge_kernels/{native_target().library}",
        "embedge_kernels/py.typed",
    ]


def test_the_library_offers_its_names_only(library: Path) -> None:
    assert EXPORTS == ("RegisterCustomOps", "embedge_arithmetic", "embedge_isa")
    assert tuple(check_symbols(native_target(), library)) == EXPORTS


def test_the_library_holds_no_path_of_this_machine(library: Path) -> None:
    check_paths(native_target(), library)
    assert b".cpp" not in library.read_bytes()


def test_pip_installs_the_wheel_and_the_library_loads(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    python = tmp_path / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-index", "--quiet", str(wheel)], check=True)
    code = (
        "import ctypes, embedge_kernels as k, json; isa = ctypes.CDLL(k.library()).embedge_isa; "
        "isa.restype = ctypes.c_char_p; print(json.dumps([k.library(), k.__version__, isa().decode()]))"
    )
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    path, version, isa = json.loads(done.stdout)
    assert VERSION
    assert Path(path).is_relative_to(tmp_path)
    assert version == VERSION[1]
    assert isa in {"avx512_vnni", "avx_vnni", "avx2", "neon_i8mm", "neon_dotprod", "neon", "scalar"}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.triple)
def test_a_name_too_many_is_found_on_every_platform(
    target: recipe.Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = "__declspec(dllexport)" if target.library.endswith(".dll") else '__attribute__((visibility("default")))'
    text = f'extern "C" {export} int too_many() {{ return 1; }}\nextern "C" int hidden() {{ return 2; }}\n'
    write_source(tmp_path, monkeypatch, text)
    library = compile_library(replace(target, sources={"one.cpp": ()}), tmp_path)
    assert "too_many" in read_symbols(library).exports
    assert "hidden" not in read_symbols(library).exports
    with pytest.raises(BadWheel, match="offers too_many, not RegisterCustomOps"):
        check_symbols(target, library)


def test_no_function_of_an_instruction_set_stands_in_for_anothers(tmp_path: Path) -> None:
    """Two files' weak functions of one name become either's: it may be the one that this CPU can't run."""
    target = native_target()
    if "linux" not in target.triple:
        pytest.skip("reads object files of Linux")
    weak = {made.name: read_weak(made) for made in compile_sources(target, tmp_path)}
    assert any(weak.values())
    for name, others in itertools.permutations(weak, 2):
        if name.startswith("isa_"):
            assert weak[name].isdisjoint(weak[others]), f"{name} and {others}"


def test_a_warning_of_the_compiler_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write_source(tmp_path, monkeypatch, "void unused() { int never_read = 1; }\n")
    with pytest.raises(CannotCompile, match="never_read"):
        compile_library(target, tmp_path)


def test_a_name_that_is_nowhere_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write_source(tmp_path, monkeypatch, "int nowhere(); int used() { return nowhere(); }\n")
    with pytest.raises(CannotCompile, match="nowhere"):
        compile_library(target, tmp_path)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    target = replace(native_target(), sources={"missing.cpp": ()})
    with pytest.raises(CannotCompile, match=r"made of src/missing\.cpp"):
        compile_library(target, tmp_path)


def test_a_product_and_a_sum_are_not_fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native_target().triple.startswith("x86_64"):
        pytest.skip("knows a CPU's flag for multiply-add on x86-64 alone")
    text = (
        'extern "C" __attribute__((visibility("default"))) float step(float a, float b, float c)'
        " { return a * b + c; }\n"
    )
    target = replace(write_source(tmp_path, monkeypatch, text), sources={"one.cpp": ("-mcpu=x86_64", "-mfma")})
    step = ctypes.CDLL(str(compile_library(target, tmp_path))).step
    step.restype, step.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    near_one = 1 + 2.0**-12
    assert step(near_one, near_one, -1) == 2.0**-11  # 2**-11 + 2**-24 if the product were not rounded


def test_the_compiler_is_the_same_in_the_group_and_in_the_build() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["kernels"]
    needed = tomllib.loads((KERNELS / "pyproject.toml").read_text())["build-system"]["requires"]
    assert set(group) <= set(needed)


def test_both_distributions_have_one_licence() -> None:
    assert (KERNELS / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
