"""What `make isa` makes of what the CPUs gave; the emulation itself is run by `make isa`."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.isa import debian, kernels
from benchmarks.isa.__main__ import texts
from benchmarks.isa.compare import LEAST_FINGERPRINT, Ran, Run, missed, rows, table
from benchmarks.isa.cpus import EMULATED, NATIVE, Cpu
from benchmarks.isa.parts import make_once
from embedge import Bundle
from embedge.fingerprint import smallest_cosine
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


def ran(noise: float = 0.0, **changes: Any) -> Ran:
    """A variant whose vectors have the cosine ``1 - noise ** 2 / 2`` to the native ones, about."""
    vectors = unit_vectors(noise)
    sha256 = hashlib.sha256(vectors.tobytes()).hexdigest()
    return replace(Ran(vectors, ["model.onnx"], True, sha256, fingerprint=0.9999999, seconds=1.0), **changes)


def good_run(cpu: Cpu) -> Run:
    """What a CPU gives where everything is right."""
    found = {"int8": ran(0.01), "fp32": ran()}
    return Run(cpu, ["AVX2"], {"onnxruntime": "1.32.0"}, bool(cpu.exact_u8s8), found)


NATIVE_RUN = good_run(NATIVE)


@pytest.mark.parametrize("cpu", [NATIVE, HASWELL, ARM], ids=lambda cpu: cpu.name)
def test_nothing_is_missed_where_everything_is_right(cpu: Cpu) -> None:
    assert missed(good_run(cpu), NATIVE_RUN) == []


@pytest.mark.parametrize("variant", ["int8", "fp32"])
@pytest.mark.parametrize("noise", [0.06, float("nan")])
def test_a_bad_cosine_is_missed(variant: str, noise: float) -> None:
    run = good_run(ARM)
    found = missed(replace(run, ran={**run.ran, variant: ran(noise)}), NATIVE_RUN)
    assert found
    assert all(miss.startswith(f"cortex-a76 (qemu-aarch64): {variant}: mean cosine to fp32") for miss in found)


@pytest.mark.parametrize(
    ("variant", "changes", "told"),
    [
        ("int8", {"fingerprint": 0.978}, "int8: fingerprint's minimum cosine is 0.978000, less than 0.998"),
        ("fp32", {"fingerprint": 0.9999}, "fp32: fingerprint's minimum cosine is 0.999900, less than 0.999999"),
        ("int8", {"graphs": ["a", "b"], "graphs_agree": False}, "int8: a and b give different bits"),
    ],
)
def test_what_is_wrong_with_a_variant_is_told(variant: str, changes: dict[str, Any], told: str) -> None:
    run = good_run(HASWELL)
    changed = replace(run, ran={**run.ran, variant: replace(run.ran[variant], **changes)})
    assert missed(changed, NATIVE_RUN) == [f"Haswell (qemu-x86_64): {told}"]


def test_a_wrong_probe_is_told_where_the_right_answer_is_known() -> None:
    assert missed(replace(good_run(HASWELL), exact_u8s8=True), NATIVE_RUN) == [
        "Haswell (qemu-x86_64): the probe says exact_u8s8=True"
    ]
    for exact in (True, False):
        assert missed(replace(NATIVE_RUN, exact_u8s8=exact), NATIVE_RUN) == []


def test_fingerprints_are_asked_for_what_the_bundle_asks_for(bundle: Path) -> None:
    variants = Bundle.open(bundle).manifest.variants
    assert {name: smallest_cosine(variant) for name, variant in variants.items()} == LEAST_FINGERPRINT


def test_the_table_has_a_row_for_each_variant() -> None:
    lines = table([row for run in (NATIVE_RUN, good_run(HASWELL)) for row in rows(run, NATIVE_RUN)]).splitlines()
    assert len(lines) == 2 + 2 + 2
    assert " ".join(lines[2].split()) == "native none no int8 1 1.000000 1.000000 yes 0.999950 0.999950 1.000000 1.0"
    assert " ".join(lines[4].split()).startswith("Haswell qemu-x86_64 no int8 1 1.000000")


def test_the_texts_are_of_mixed_lengths() -> None:
    words = sorted(len(text.split()) for text in texts())
    assert len(set(texts())) == 30
    assert words[9] <= 4
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


def test_the_bits_of_other_vectors_are_others_however_near_they_are() -> None:
    assert [row.same_bits for row in rows(good_run(HASWELL), NATIVE_RUN)] == [True, True]
    near = ran(0.0001)
    near.vectors[1:] = NATIVE_RUN.ran["fp32"].vectors[1:]
    run = replace(NATIVE_RUN, ran={**NATIVE_RUN.ran, "fp32": near})
    assert [(row.same_bits, row.native_min > 0.9999999) for row in rows(run, NATIVE_RUN)] == [
        (True, True),
        (False, True),
    ]


def test_cpus_with_the_same_instructions_gave_the_same_bits() -> None:
    """The two emulated x86-64 CPUs are both AVX2 machines; by the hashes of the results that are kept."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "isa.json").read_text())["rows"]
    hashes = {(row["cpu"], row["variant"]): row["sha256"] for row in kept}
    for variant in ("int8", "fp32"):
        assert len(hashes["Haswell", variant]) == 64
        assert hashes["Haswell", variant] == hashes["Skylake-Server", variant]
    for row in kept:
        assert row["same_bits"] == (row["sha256"] == hashes["native", row["variant"]])


def test_the_results_that_are_kept_miss_nothing_and_are_within_what_fingerprints_allow() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "isa.json").read_text())
    assert results["missed"] == []
    assert {row["cpu"] for row in results["rows"]} == {cpu.name for cpu in (NATIVE, *EMULATED)}
    for row in results["rows"]:
        assert row["graphs_agree"]
        assert row["native_min"] >= LEAST_FINGERPRINT[row["variant"]]


BEST = kernels.Ran(kernels.REFERENCE, "avx512_vnni", {"mean": "1", "cls": "2"}, 1.0)


def kernels_ran(cpu: Cpu, isa: str, *, asked: str = "", **sha256: str) -> kernels.Ran:
    """What the kernels gave on ``cpu``."""
    return kernels.Ran(kernels.Asked(cpu, asked), isa, {**BEST.sha256, **sha256}, 2.0)


@pytest.mark.parametrize(
    ("ran", "told"),
    [
        (kernels_ran(ARM, "neon_dotprod"), []),
        (kernels_ran(NATIVE, "scalar", asked="scalar"), []),
        (kernels_ran(ARM, "scalar"), ["cortex-a76 (qemu-aarch64) ran scalar, not neon_dotprod"]),
        (kernels_ran(NATIVE, "avx2", asked="scalar"), ["native (none) asked for scalar ran avx2, not scalar"]),
        (
            kernels_ran(HASWELL, "avx2", cls="3"),
            ["Haswell (qemu-x86_64): avx2 gives other bits for cls than avx512_vnni natively"],
        ),
    ],
)
def test_kernels_must_give_the_native_bits_by_the_right_instructions(ran: kernels.Ran, told: list[str]) -> None:
    assert kernels.missed(BEST, BEST) == []
    assert kernels.missed(ran, BEST) == [f"kernels: {miss}" for miss in told]


def test_the_table_of_the_kernels_says_whose_bits_are_others() -> None:
    lines = kernels.table([BEST, kernels_ran(HASWELL, "avx2", cls="3")]).splitlines()
    assert [line.split() for line in lines] == [
        ["CPU", "emulator", "kernels", "mean", "cls", "CPU", "seconds"],
        ["native", "none", "avx512_vnni", "same", "bits", "same", "bits", "1.0"],
        ["Haswell", "qemu-x86_64", "avx2", "same", "bits", "OTHER", "2.0"],
    ]


def test_the_kernels_gave_the_same_bits_by_all_instruction_sets_in_the_results_that_are_kept() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "isa-kernels.json").read_text())
    assert results["missed"] == []
    rows = results["rows"]
    assert {"scalar", "avx2", "neon", "neon_dotprod", "neon_i8mm"} <= {row["isa"] for row in rows}
    assert {row["cpu"] for row in rows} == {cpu.name for cpu in (NATIVE, *EMULATED)}
    assert all(row["sha256"] == rows[0]["sha256"] and len(row["sha256"]) == 2 for row in rows)
