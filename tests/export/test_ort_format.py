"""A bundle in ONNX Runtime's own format, and the list of operators that a reduced build of it needs."""

from pathlib import Path

import numpy as np

from embedge.engine.ort import CPU, onnxruntime
from embedge_export.targets.ort_format import OPERATORS
from tests.cases import listing, run_script, start_form


def test_its_vectors_have_the_librarys_bits(tiny: Path, tiny_ort: Path) -> None:
    texts = ["a text", "", "another text, longer than the first", "東京の夜は静かだ"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(tiny_ort), options, providers=[CPU])
    (vectors,) = session.run(None, {"texts": np.array(texts, object), "is_query": np.array([False])})
    with start_form(tiny, "unsigned", threads=1) as model:
        assert np.array_equal(vectors, model.embed(texts))


def test_it_is_in_onnx_runtimes_format_with_its_list_beside_it(tiny_ort: Path) -> None:
    assert tiny_ort.read_bytes()[4:8] == b"ORTM"
    assert listing(tiny_ort.parent) == ["model.ort", "model.required_operators.config"]


def test_the_list_is_the_one_that_onnx_runtimes_tool_makes(tiny_ort: Path) -> None:
    """Which changes where modules are looked for, so that it has a process of its own."""
    code = """
import pathlib, sys
from onnxruntime.tools.ort_format_model import create_config_from_models
create_config_from_models([pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]), False)
"""
    theirs = tiny_ort.with_name("theirs.config")
    assert run_script(code, tiny_ort, theirs).returncode == 0
    expected = [line for line in theirs.read_text().splitlines() if not line.startswith("#")]
    assert sorted(tiny_ort.with_suffix(OPERATORS).read_text().splitlines()) == sorted(expected)
