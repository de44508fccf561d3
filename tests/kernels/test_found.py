"""Whether ``embedge-kernels`` is there and can be used: found once, told, and never a reason not to load."""

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Embedder
from embedge.cli import main
from embedge.engine import native
from embedge.engine.cpus import cpu_features
from embedge.engine.native import PACKAGE, SWITCH, kernels
from tests.kernels.running import start

Install = Callable[[str], dict[str, str]]

LOAD = """
import sys, warnings
from embedge import Embedder
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(int(sys.argv[2])):
        with Embedder.load(sys.argv[1], threads=1) as model:
            print(model.kernels, model.embed(["a boat"]).tobytes().hex())
for warning in told:
    print(warning.category.__name__, warning.filename, warning.message)
"""

BROKEN = {
    "no library": ('def library(): return "/none/libembedge_kernels.so"', "/none/libembedge_kernels.so"),
    "another file": ("def library(): return __file__", "__init__.py"),
    "another library": (
        "import numpy._core._multiarray_umath as m\ndef library(): return m.__file__",
        "embedge_isa",
    ),
    "a missing module": ("import no_such_module", "no_such_module"),
    "no function": ("", "library"),
    "an error": ('def library(): raise RuntimeError("not for this CPU")', "not for this CPU"),
}


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """``install(code)``: the environment of a process in which the package consists of ``code``."""

    def written(code: str) -> dict[str, str]:
        (tmp_path / PACKAGE).mkdir()
        (tmp_path / PACKAGE / "__init__.py").write_text(f'__version__ = "0"\n{code}\n')
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        return {**os.environ, "PYTHONPATH": paths, SWITCH: ""}

    return written


def run(environment: dict[str, str], code: str, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def vectors_of_stock(bundle: Path) -> str:
    with start(bundle, needs_kernels=False) as model:
        return f"None {model.embed(['a boat']).tobytes().hex()}"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_package_is_told_of_once_and_others_run(bundle: Path, install: Install, name: str) -> None:
    code, reason = BROKEN[name]
    environment = install(code)
    loaded, told = run(environment, LOAD, bundle, 1)
    assert loaded == vectors_of_stock(bundle)
    assert told.startswith("UserWarning <string> embedge-kernels is installed but can't be used")
    assert reason in told
    assert f"{SWITCH}=0" in told
    doctor = "from embedge.cli import main; main(['doctor'])"
    (line,) = [line for line in run(environment, doctor) if line.startswith("embedge-kernels")]
    assert re.match(rf"embedge-kernels +can't be used: .*{re.escape(reason)}", line)


def test_a_bundle_that_has_no_graph_for_it_tells_nothing_of_a_broken_package(tiny: Path, install: Install) -> None:
    assert len(run(install(BROKEN["an error"][0]), LOAD, tiny, 2)) == 2


def test_a_variant_that_it_does_not_run_tells_nothing_of_a_broken_package(bundle: Path, install: Install) -> None:
    code = LOAD.replace("threads=1", "threads=1, variant='fp32'")
    assert len(run(install(BROKEN["an error"][0]), code, bundle, 1)) == 1


def test_it_can_be_left_out(bundle: Path, install: Install) -> None:
    """And is not even imported then."""
    environment = {**install("raise SystemExit('imported')"), SWITCH: "0"}
    assert run(environment, LOAD, bundle, 1) == [vectors_of_stock(bundle)]
    (line,) = [line for line in run(environment, "from embedge.cli import main; main(['doctor'])") if SWITCH in line]
    assert re.fullmatch(rf"embedge-kernels +not used: {SWITCH}=0", line)


def test_without_the_package_nothing_is_told(bundle: Path) -> None:
    code = f"import sys; sys.modules[{PACKAGE!r}] = None\n{LOAD}"
    assert run({**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, code, bundle, 1) == [vectors_of_stock(bundle)]


@pytest.mark.usefixtures("installed")
def test_it_is_used_where_it_is_installed(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Embedder.load(bundle) as model, start(bundle) as ours:
            assert model.kernels == ours.kernels == kernels().description
            assert model.embed(["a boat"]).tobytes() == ours.embed(["a boat"]).tobytes()
    for command in ("info", "doctor"):
        assert main([command, str(bundle)]) == 0
        out = capsys.readouterr().out
        assert re.search(r"^(on this CPU|variant) +int8, by embedge-kernels [\w.]+ \(\w+\)$", out, re.MULTILINE)


@pytest.mark.usefixtures("installed")
def test_another_instruction_set_that_is_not_there_is_told_of(bundle: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "EMBEDGE_ISA": "mmx"}
    loaded, told = run(environment, LOAD, bundle, 1)
    assert loaded == vectors_of_stock(bundle)
    assert "mmx" in told


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("isa", ["avx512_vnni", "avx_vnni", "avx2", "neon_i8mm", "neon_dotprod", "neon", "scalar"])
def test_instruction_sets_give_the_same_bits(bundle: Path, isa: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loaded, *told = run({**environment, "EMBEDGE_ISA": isa}, LOAD, bundle, 1)
    if told:
        pytest.skip(told[0])
    assert f"({isa})" in loaded
    (usual,) = run(environment, LOAD, bundle, 1)
    assert loaded.split()[-1] == usual.split()[-1]


@pytest.mark.usefixtures("installed")
def test_a_cpu_for_which_nothing_is_fast_does_without_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDGE_ISA", raising=False)
    monkeypatch.setattr(native, "_instruction_set", lambda library: "scalar")
    found = native.kernels.__wrapped__()
    assert (found.library, found.problem) == (None, None)
    assert "nothing fast for this CPU" in found.description
    monkeypatch.setenv("EMBEDGE_ISA", "scalar")
    assert native.kernels.__wrapped__().library is not None


@pytest.mark.usefixtures("installed")
def test_a_library_of_another_arithmetic_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_ARITHMETIC", 2)
    found = native.kernels.__wrapped__()
    assert found.library is None
    assert "version 1 of the arithmetic, and bundles want version 2" in str(found.problem)


@pytest.mark.usefixtures("installed")
def test_the_best_instruction_set_that_linux_names_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDGE_ISA", raising=False)
    names = {"avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni", "avx2": "avx2", "i8mm": "neon_i8mm"}
    expected = [isa for feature, isa in names.items() if feature in cpu_features()]
    assert native.kernels.__wrapped__().description.endswith(f"({expected[0] if expected else 'neon'})")
