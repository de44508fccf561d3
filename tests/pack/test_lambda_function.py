"""A packed function run by AWS's own client, from a directory that holds nothing but the zip's contents."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edge.lambda_runtime import Function, FunctionFailed
from embedge import Embedder
from embedge.pack.aws_lambda import Packed
from tests.cases import ROOT

TEXTS = ["What runs at the edge?", "A ferry crosses the harbour.", ""]


def http(body: object) -> dict[str, object]:
    return {
        "version": "2.0",
        "rawPath": "/v1/embeddings",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}},
        "body": json.dumps(body),
    }


@pytest.mark.parametrize("megabytes", [256, 512, 1024])
def test_it_embeds_within_its_address_space(megabytes: int, function: Path, client: Path, model: Embedder) -> None:
    before = sorted(function.rglob("*"))
    with Function(function, client, sys.executable, memory_mb=megabytes, address_space_mb=megabytes) as running:
        answer, _ = running.invoke({"input": TEXTS})
        assert np.array_equal(np.array([one["embedding"] for one in answer["data"]], np.float32), model.embed(TEXTS))
        response, _ = running.invoke(http({"input": TEXTS}))
        assert response["statusCode"] == 200
        assert json.loads(response["body"])["data"] == answer["data"]
        bad, _ = running.invoke(http({"input": 5}))
        assert (bad["statusCode"], json.loads(bad["body"])["error"]["param"]) == (400, "input")
        surrogate, _ = running.invoke({"input": "half \ud83d"})
        assert surrogate["statusCode"] == 400
        assert running.peak_mb < 200
        assert running.log == ""
    assert sorted(function.rglob("*")) == before  # it writes nothing there


def test_too_little_memory_is_told_at_the_start(function: Path, client: Path) -> None:
    with (
        pytest.raises(FunctionFailed, match=r"init/error.*128 MB of memory.*give it 192 MB or more"),
        Function(function, client, sys.executable, memory_mb=128),
    ):
        pass


def test_it_is_small_compiled_and_tried(packed: Packed, zipped: Path, function: Path) -> None:
    assert packed.unzipped < 160e6
    assert packed.zipped == zipped.stat().st_size < 75e6
    assert packed.unzipped == sum(path.stat().st_size for path in function.rglob("*") if path.is_file())
    assert packed.compiled
    assert packed.cosine is not None
    sources = {path.relative_to(function) for path in function.rglob("*.py")}
    compiled = {
        path.relative_to(function).parent.parent / f"{path.name.split('.')[0]}.py" for path in function.rglob("*.pyc")
    }
    assert compiled == sources


def test_it_has_the_int8_variant_alone_and_what_packages_say_of_themselves(function: Path) -> None:
    assert {path.name for path in (function / "bundle").iterdir()} == {
        "manifest.json", "tokenizer.json", "model.int8.bin", "model.int8.onnx", "model.int8-kernels.onnx",
        "model.int8-unsigned.onnx",
    }  # fmt: skip
    for name in ("numpy", "onnxruntime", "tokenizers"):
        (found,) = function.glob(f"{name}-*.dist-info")
        assert (found / "METADATA").is_file()


def test_no_path_of_this_machine_is_in_it(function: Path) -> None:
    for path in [*function.rglob("*.pyc"), *(function / "embedge").rglob("*")]:
        if path.is_file():
            assert str(ROOT).encode() not in path.read_bytes()
