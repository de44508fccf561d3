"""What `make isa` makes of what the CPUs gave; the emulation itself is run by `make isa`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.isa import debian
from benchmarks.isa.__main__ import texts
from benchmarks.isa.compare import Ran, Run, missed, rows, table
from benchmarks.isa.cpus import EMULATED, NATIVE, Cpu
from benchmarks.isa.parts import make_once
from embedge.vectors import FloatArray
from tests.cases import ROOT

HASWELL = next(cpu for cpu in EMULATED if cpu.name == "Haswell")
ARM = next(cpu for cpu in EMULATED if cpu.name == "cortex-a76")


def unit_vectors(noise: float = 0.0) -> FloatArray:
    """20 random vectors of length 1, the same ones but for ``noise``, whose square is what the cosine lacks of 1."""
    random = np.random.default_rng(0)
    base, other = (random.normal(size=(20, 384)).astype(np.float32) for _ in range(2))
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    other -= (other * base).sum(axis=1, keepdims=True) * base
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    mixed: FloatArray = np.sqrt(1 - noise**2).astype(np.float32) * base + np.float32(noise) * other
    return mixed


def good_run(cpu: Cpu) -> Run:
    """What a CPU gives where everything is right."""
    noise = {"int8": 0.01, "int8-reduced": 0.02, "fp32": 0.0}
    names = [name for name in noise if name != "int8" or cpu.int8_is_exact]
    ran = {name: Ran(unit_vectors(noise[name]), fingerprint=0.9999, seconds=1.0) for name in names}
    return Run(cpu, ["AVX2"], {"onnxruntime": "1.32.0"}, cpu.int8_is_exact, names[0], ran)


NATIVE_RUN = good_run(NATIVE)


def with_variant(run: Run, name: str, ran: Ran) -> Run:
    return replace(run, ran={**run.ran, name: ran})


@pytest.mark.parametrize("cpu", [NATIVE, HASWELL, ARM], ids=lambda cpu: cpu.name)
def test_nothing_is_missed_where_everything_is_right(cpu: Cpu) -> None:
    assert missed(good_run(cpu), NATIVE_RUN) == []


@pytest.mark.parametrize("variant", ["int8", "int8-reduced", "fp32"])
@pytest.mark.parametrize("noise", [0.06, float("nan")])
def test_a_bad_cosine_is_missed(variant: str, noise: float) -> None:
    run = with_variant(good_run(ARM), variant, Ran(unit_vectors(noise), fingerprint=0.9999, seconds=1.0))
    found = missed(run, NATIVE_RUN)
    assert found
    assert all(miss.startswith(f"cortex-a76 (qemu-aarch64): {variant}: mean cosine") for miss in found)


def test_the_reduced_variant_far_from_fp32_is_missed_natively_too() -> None:
    run = with_variant(NATIVE_RUN, "int8-reduced", Ran(unit_vectors(0.06), fingerprint=0.9999, seconds=1.0))
    assert missed(run, run) == [
        "native (none): int8-reduced: mean cosine to fp32 natively is 0.998198, less than 0.9985",
    ]


def test_a_wrong_fingerprint_is_missed() -> None:
    run = with_variant(good_run(HASWELL), "fp32", Ran(unit_vectors(), fingerprint=0.978, seconds=1.0))
    assert missed(run, NATIVE_RUN) == [
        "Haswell (qemu-x86_64): fp32: fingerprint's least cosine is 0.978000, less than 0.998"
    ]


def test_a_wrong_probe_choice_and_refusal_are_missed() -> None:
    probe = replace(good_run(HASWELL), int8_is_exact=True)
    assert missed(probe, NATIVE_RUN) == [
        "Haswell (qemu-x86_64): the probe says int8_is_exact=True",
        "Haswell (qemu-x86_64): variant 'auto' is int8-reduced, not int8",
        "Haswell (qemu-x86_64): int8 was refused",
    ]
    ran = with_variant(good_run(HASWELL), "int8", NATIVE_RUN.ran["int8"])
    assert missed(ran, NATIVE_RUN) == ["Haswell (qemu-x86_64): int8 was not refused"]
    chosen = replace(good_run(ARM), chosen="fp32")
    assert missed(chosen, NATIVE_RUN) == ["cortex-a76 (qemu-aarch64): variant 'auto' is fp32, not int8"]


def test_the_table_has_a_row_for_each_variant_and_says_what_was_refused() -> None:
    lines = table([row for run in (NATIVE_RUN, good_run(HASWELL)) for row in rows(run, NATIVE_RUN)]).splitlines()
    assert len(lines) == 2 + 3 + 3
    assert " ".join(lines[2].split()) == "native none yes int8 chosen 1.000000 1.000000 20 0.999950 0.999950 ok 1.0"
    assert " ".join(lines[5].split()) == "Haswell qemu-x86_64 no int8 refused"


def test_the_texts_are_20_of_mixed_lengths() -> None:
    words = sorted(len(text.split()) for text in texts())
    assert len(set(texts())) == 20
    assert words[0] < 15
    assert words[-1] > 35


def test_a_part_is_made_once_and_again_when_it_is_made_of_something_else(tmp_path: Path) -> None:
    made: list[Path] = []

    def build(into: Path) -> None:
        made.append(into)
        (into / "file").write_text(f"{len(made)}")

    for made_of in ("a", "a", "b"):
        assert make_once(tmp_path / "place" / "part", made_of, build) == tmp_path / "place" / "part"
    assert len(made) == 2
    assert (tmp_path / "place" / "part" / "file").read_text() == "2"
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["part"]


def test_a_part_that_fails_leaves_nothing_behind_but_what_was_there(tmp_path: Path) -> None:
    def fail(into: Path) -> None:
        (into / "half").touch()
        raise debian.MissingPart("no network")

    with pytest.raises(debian.MissingPart):
        make_once(tmp_path / "place" / "part", "a", fail)
    assert list((tmp_path / "place").iterdir()) == []
    make_once(tmp_path / "place" / "part", "a", lambda into: (into / "file").touch())
    with pytest.raises(debian.MissingPart):
        make_once(tmp_path / "place" / "part", "b", fail)
    assert (tmp_path / "place" / "part" / "file").exists()


def test_without_apt_it_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(debian.MissingPart, match=r"there is no apt-get here: .* run it on Debian"):
        debian.unpack(["python3-minimal"], "arm64", tmp_path)


def test_the_results_that_are_kept_miss_nothing_and_have_the_bits_that_the_readme_tells_of() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "isa.json").read_text())
    assert results["missed"] == []
    rows = {(row["cpu"], row["variant"]): row["figures"] for row in results["rows"]}
    for cpu in ("Haswell", "Skylake-Server"):
        assert rows[cpu, "int8"] is None
        assert rows[cpu, "int8-reduced"]["native_equal"] == results["texts"]
