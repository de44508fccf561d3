"""Figures in the texts are those of the results that are kept."""

import json
import re
from typing import Any

import pytest

from tests.cases import ROOT


def page(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_the_size_of_a_bundle_is_the_measured_one(name: str) -> None:
    found = sorted((ROOT / "benchmarks" / "results").glob("speed*.json"))
    assert found
    for path in found:
        megabytes = json.loads(path.read_text())["contenders"]["embedge_int8"]["files_mb"]
        assert f"a bundle of {megabytes:.0f} MB" in page(name)


def test_the_cosines_of_short_texts_are_the_measured_ones() -> None:
    short = results("quality")["variants"]["int8"]["cosine"]["short_texts"]
    mean, smallest = f"{short['mean']:.5f}", f"{short['least']:.4f}"
    assert f"a mean cosine of {mean} and a min of {smallest} for texts of 3 to 8 tokens" in page("README.md")
    assert f"| {short['texts']:,} texts of 3 to 8 tokens | {mean} | {smallest} |" in page("docs/limits.md")


def test_the_cosines_of_passages_are_the_measured_ones_wherever_they_stand() -> None:
    passages = results("quality")["variants"]["int8"]["cosine"]["passages"]
    mean, smallest = f"{passages['mean']:.5f}", f"{passages['least']:.4f}"
    assert f"| {passages['texts']:,} passages of 3 to 670 words | {mean} | {smallest} |" in page("docs/limits.md")
    for name in ("docs/faq.md", "docs/migrating.md"):
        assert mean in page(name)


def test_the_cosines_on_arm_are_the_measured_ones() -> None:
    rows = [row for row in results("isa")["rows"] if row["emulator"] == "qemu-aarch64"]
    assert len({row["cpu"] for row in rows}) == 3
    mean = {
        variant: min(row["native_mean"] for row in rows if row["variant"] == variant) for variant in ("fp32", "int8")
    }
    smallest = min(row["native_min"] for row in rows if row["variant"] == "int8")
    row = f"| three emulated ARM CPUs | {mean['fp32']:.6f} | {mean['int8']:.5f} | {smallest:.4f} |"
    assert row in page("docs/limits.md")


def test_how_fast_the_kernels_are_is_the_measured_ratio() -> None:
    ratios = [row["ratio"] for row in results("kernels-vnni")["passes"]]
    assert f"{min(ratios):.1f} to {max(ratios):.1f} times as fast as those on one thread" in page("README.md")


def test_the_table_of_the_gpu_is_the_measured_one() -> None:
    for name, label in (("embedge_fp16", r"\*\*embedge\*\*"), ("ort_fused", "ONNX Runtime's optimizer")):
        contender = results("cuda")["contenders"][name]
        rounded = [f"{round(value, -4):,.0f}" for value in contender["tokens_per_s"].values()]
        figures = [*rounded, f"{contender['query_ms']:.1f}"]
        found = re.search(rf"\| {label}[^|]*\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|", page("docs/gpu.md"))
        assert found
        assert [cell.strip() for cell in found.groups()] == figures


def test_what_packing_a_function_prints_is_what_was_measured() -> None:
    found = results("lambda")
    assert found["missed"] == []
    for name, key in (("unzipped", "unzipped_mb"), ("zip", "zip_mb"), ("left out", "left_out_mb")):
        assert f"{name} {found[key]} MB" in page("docs/lambda.md")
    for name in ("bundle", "numpy", "onnxruntime", "tokenizers"):
        assert f"{name} {found['sizes_mb'][name]} MB" in page("docs/lambda.md")
