"""What the operators refuse, each with a sentence of theirs; nothing that is fed to them ends the process."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnxruntime.capi import onnxruntime_pybind11_state as states

from tests.kernels.layers import RandomLayer
from tests.kernels.operators import Array, Arrays, Attributes, available, chosen, model, options, run

Refused = (states.Fail, states.InvalidArgument, states.InvalidGraph, states.RuntimeException)

LAYER = RandomLayer(32, 4, 64)
FIRST = RandomLayer(32, 4, 64, first_only=True)
NOTHING: Mapping[str, Any] = MappingProxyType({})


@pytest.fixture(autouse=True)
def _installed() -> None:
    available()


def refuse(
    message: str, operator: str, inputs: Arrays, constants: Arrays, attributes: Attributes, isa: str = "scalar"
) -> None:
    with pytest.raises(Refused, match=message):
        run(isa, model(operator, inputs, constants, attributes), inputs)


def refuse_layer(
    message: str,
    inputs: Arrays = NOTHING,
    weights: Arrays = NOTHING,
    attributes: Attributes = NOTHING,
    layer: RandomLayer = LAYER,
) -> None:
    """Of a layer that would be right but for the changes."""
    constants = {**layer.constants(), **weights}
    refuse(message, "EncoderLayer", {**layer.inputs([3, 2]), **inputs}, constants, {**layer.attributes, **attributes})


def test_a_text_of_too_many_tokens() -> None:
    message = "a text has 65537 tokens; the most is 65536"
    refuse(message, "EncoderLayer", LAYER.inputs([3, 65_537]), LAYER.constants(), LAYER.attributes)


@pytest.mark.parametrize("kind", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [name for name in LAYER.constants() if not name.endswith("_codes")])
def test_weights_that_are_not_finite(name: str, kind: float) -> None:
    weight = LAYER.constants()[name]
    assert weight is not None
    weight[-1] = kind
    refuse_layer(f"{name} is not finite at {len(weight) - 1}", weights={name: weight})


@pytest.mark.parametrize("name", LAYER.constants())
def test_weights_of_wrong_shapes(name: str) -> None:
    weight = LAYER.constants()[name]
    assert weight is not None
    decides = name == "intermediate_codes"
    refuse_layer("must have" if not decides else "multiples of 32", weights={name: weight[:-1]})
    refuse_layer("must have" if not decides else "multiples of 32", weights={name: weight[:0]})
    refuse_layer("dimensions|must have", weights={name: weight.reshape(1, 1, *weight.shape)})
    refuse_layer(f"{name} must|multiples of 32", weights={name: weight[0]})


@pytest.mark.parametrize("name", LAYER.constants())
def test_weights_that_are_no_constants(name: str) -> None:
    inputs = {**LAYER.inputs([3]), **{other: array for other, array in LAYER.constants().items() if other == name}}
    order = [*LAYER.inputs([3]), *LAYER.constants()]
    constants = {other: array for other, array in LAYER.constants().items() if other != name}
    graph = model("EncoderLayer", inputs, constants, LAYER.attributes, order)
    with pytest.raises(Refused, match=f"{name} must be a constant"):
        run("scalar", graph, inputs)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"activation": "swish"}, "activation is 'swish'; it may be gelu, gelu_tanh or relu"),
        ({"activation": "an activation of which nobody has heard"}, "buffer is not large enough"),
        ({"heads": 0}, "heads must divide the hidden size, 32"),
        ({"heads": 3}, "heads must divide the hidden size, 32"),
        ({"heads": -4}, "heads must divide the hidden size, 32"),
        ({"heads": 2**40}, "heads must divide the hidden size, 32"),
        ({"zero_point": -1}, "zero_point is -1"),
        ({"zero_point": 255}, "zero_point is 255"),
        ({"smallest_scale": 0.0}, "smallest_scale must be at least 2\\^-126"),
        ({"smallest_scale": 1e-40}, "smallest_scale must be at least 2\\^-126"),
        ({"smallest_scale": float("nan")}, "smallest_scale"),
        ({"smallest_scale": float("inf")}, "smallest_scale"),
        ({"epsilon": -1.0}, "epsilon not negative"),
        ({"epsilon": float("nan")}, "epsilon not negative"),
        ({"first_only": 1}, "key_value_codes are given if first_only is, and only then"),
    ],
)
def test_attributes_of_a_layer(attributes: Attributes, message: str) -> None:
    refuse_layer(message, attributes=attributes)


@pytest.mark.parametrize("name", LAYER.attributes)
def test_attributes_that_are_missing(name: str) -> None:
    attributes = {other: value for other, value in LAYER.attributes.items() if other != name}
    refuse(name, "EncoderLayer", LAYER.inputs([3]), LAYER.constants(), attributes)


@pytest.mark.parametrize("layer", [RandomLayer(48, 4, 64), RandomLayer(32, 4, 48), RandomLayer(8, 2, 32)])
def test_sizes_that_are_no_multiples_of_32(layer: RandomLayer) -> None:
    message = f"hidden size {layer.hidden} and intermediate size {layer.inner} must be multiples of 32"
    refuse_layer(message, layer=layer, inputs=layer.inputs([3]))


def test_keys_and_values_that_are_not_all_there() -> None:
    refuse_layer("key_value_scales", weights={"key_value_scales": None}, layer=FIRST)
    refuse_layer("key_value_bias", weights={"key_value_bias": None}, layer=FIRST)
    refuse_layer("key_value_codes|qkv_codes", layer=FIRST, attributes={"first_only": 0})
    whole = LAYER.constants()
    refuse_layer("qkv_codes must have shape \\(32, 32\\)", layer=FIRST, weights={"qkv_codes": whole["qkv_codes"]})


@pytest.mark.parametrize("width", [0, 31, 64])
def test_rows_of_another_width(width: int) -> None:
    refuse_layer("x must have shape \\(tokens, 32\\)", inputs={"x": np.zeros((5, width), np.float32)})


def test_tensors_of_other_ranks() -> None:
    refuse_layer("x must have shape \\(tokens, 32\\)", inputs={"x": np.zeros(32, np.float32)})
    refuse_layer("x has 3 dimensions; it may have 2", inputs={"x": np.zeros((1, 5, 32), np.float32)})
    refuse_layer("offsets must begin at 0", inputs={"offsets": np.array(0)})
    refuse_layer("offsets must begin at 0", inputs={"offsets": np.array([[0, 5]])})
    refuse_layer("spread must be a scalar", inputs={"spread": np.array([1])})


def right(offsets: list[int], tokens: int) -> bool:
    return bool(offsets) and offsets[0] == 0 and offsets[-1] == tokens and all(np.diff(offsets) > 0)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(-2, 12) | st.integers(-(2**63), 2**63 - 1), max_size=6), st.integers(0, 10),
    st.integers(-1, 9) | st.sampled_from([2**63 - 1, -(2**63)]), st.booleans(),
)  # fmt: skip
@example([0], 0, 3, False)
@example([0, 4, 10], 10, 2**63 - 1, True)
@example([0, 10, 4], 10, 1, False)
@example([0, 4, 4, 10], 10, 1, True)
@example([], 0, 1, False)
def test_any_offsets_and_any_spread(offsets: list[int], tokens: int, spread: int, first_only: bool) -> None:
    """Vectors for those that fit the tokens, and one sentence for all others."""
    session = SESSIONS(first_only)
    inputs = {
        "x": np.ones((tokens, 32), np.float32),
        "offsets": np.array(offsets, np.int64),
        "spread": np.array(spread),
    }
    if right(offsets, tokens):
        out = session.run(None, inputs)[0]
        assert out.shape == (len(offsets) - 1 if first_only else tokens, 32)
        assert np.isfinite(out).all()
    else:
        with pytest.raises(Refused, match=f"offsets must begin at 0, rise, and end at the number of tokens, {tokens}"):
            session.run(None, inputs)


class _Sessions:
    """Of the two kinds of layers, made once, with the instruction set of this CPU."""

    def __init__(self) -> None:
        self._made: dict[bool, onnxruntime.InferenceSession] = {}

    def __call__(self, first_only: bool) -> onnxruntime.InferenceSession:
        if first_only not in self._made:
            layer = FIRST if first_only else LAYER
            graph = model("EncoderLayer", layer.inputs([1]), layer.constants(), layer.attributes)
            self._made[first_only] = onnxruntime.InferenceSession(graph, options(2))
        return self._made[first_only]


SESSIONS = _Sessions()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("input_ids", np.array([1, 10, 2]), "input_ids has 10 at 1; the vocabulary has 10 words"),
        ("input_ids", np.array([1, 2, -1]), "input_ids has -1 at 2"),
        ("input_ids", np.array([2**62, 2, 1]), "input_ids has 4611686018427387904 at 0"),
        ("input_ids", np.array([[1, 2, 3]]), "input_ids has one dimension"),
        ("input_ids", np.array([1, 2]), "offsets must begin at 0, rise, and end at the number of tokens, 2"),
        ("input_ids", np.arange(5), "offsets must begin at 0, rise, and end at the number of tokens, 5"),
        ("offsets", np.array([0, 2, 1, 3]), "offsets must begin at 0, rise"),
        ("offsets", np.array([1, 3]), "offsets must begin at 0, rise"),
        ("offsets", np.array([], np.int64), "offsets must begin at 0, rise"),
        ("words", np.zeros((10, 33), np.int8), "must have one width, a multiple of 32"),
        ("words", np.zeros(32, np.int8), "must have one width, a multiple of 32"),
        ("word_scales", np.zeros(10, np.float32), "must have one width, a multiple of 32"),
        ("word_scales", np.zeros((9, 1), np.float32), "must have one width, a multiple of 32"),
        ("positions", np.zeros((4, 64), np.float32), "must have one width, a multiple of 32"),
        ("positions", np.zeros((2, 32), np.float32), "text 0 has 3 tokens; there are positions for 2"),
        ("second", np.zeros(31, np.float32), "must have one width, a multiple of 32"),
    ],
)
def test_embeddings(name: str, array: Array, message: str) -> None:
    inputs: dict[str, Array | None] = {"input_ids": np.array([1, 2, 3]), "offsets": np.array([0, 3])}
    constants: dict[str, Array | None] = {
        "words": np.zeros((10, 32), np.int8), "word_scales": np.zeros((10, 1), np.float32),
        "positions": np.zeros((4, 32), np.float32), "second": None,
    }  # fmt: skip
    attributes = {"epsilon": 1e-12, "pad_id": -1}
    if name in inputs:
        inputs[name] = array
    else:
        constants[name] = array
    refuse(message, "Embeddings", inputs, constants, attributes)
    if name == "positions" and array.shape == (2, 32):
        constants[name] = np.zeros((3, 32), np.float32)  # one is left for the padding
        refuse(message, "Embeddings", inputs, constants, attributes | {"pad_id": 0})


@pytest.mark.parametrize(
    ("shape", "offsets", "mode", "first_only", "message"),
    [
        ((3, 32), [0, 3], "median", 0, "mode 'median' is unknown"),
        ((3, 32), [0, 3], "mean", 1, "first_only goes with cls, not with 'mean'"),
        ((3, 33), [0, 3], "mean", 0, "must have one width, a multiple of 32"),
        ((32,), [0, 3], "mean", 0, "must have one width, a multiple of 32"),
        ((3, 64), [0, 3], "mean", 0, "must have one width, a multiple of 32"),
        ((3, 32), [0, 4], "mean", 0, "offsets must begin at 0, rise, and end at the number of tokens, 3"),
        ((3, 32), [0, 0, 3], "mean", 0, "offsets must begin at 0, rise"),
        ((3, 32), [0, 3], "cls", 1, "x must have a row for each of the 1 texts"),
        ((2, 32), [0, 3, 2], "cls", 1, "offsets must begin at 0, rise"),
        ((0, 32), [], "cls", 1, "offsets must begin at 0, rise"),
    ],
)
def test_pooling(shape: tuple[int, ...], offsets: list[int], mode: str, first_only: int, message: str) -> None:
    inputs: Arrays = {"x": np.zeros(shape, np.float32), "offsets": np.array(offsets, np.int64)}
    constants: Arrays = {"weight": np.ones(32, np.float32), "bias": np.ones(32, np.float32)}
    refuse(message, "Pooling", inputs, constants, {"mode": mode, "first_only": first_only})


def test_normalize() -> None:
    refuse("x must have two dimensions", "Normalize", {"x": np.ones(3, np.float32)}, {}, {})
    refuse("x has 3 dimensions; it may have 2", "Normalize", {"x": np.ones((1, 1, 3), np.float32)}, {}, {})


def test_an_instruction_set_that_is_unknown() -> None:
    with (
        chosen("sse9"),
        pytest.raises(Refused, match="EMBEDGE_ISA is sse9, which this CPU or this library does not have"),
    ):
        options()


@pytest.mark.parametrize("operator", ["EncoderLayer", "Normalize"])
def test_an_instruction_set_that_becomes_unknown(operator: str) -> None:
    """After the library was registered."""
    known = options()
    layer = operator == "EncoderLayer"
    inputs = LAYER.inputs([3]) if layer else {"x": np.ones((1, 3), np.float32)}
    graph = model(operator, inputs, LAYER.constants() if layer else {}, LAYER.attributes if layer else {})
    with chosen("sse9"), pytest.raises(Refused, match="EMBEDGE_ISA names what this CPU"):
        onnxruntime.InferenceSession(graph, known)
