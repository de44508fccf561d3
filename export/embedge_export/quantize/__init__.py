"""int8: what is quantized, how, and why.

Every matrix and the word table become int8; positions, biases and LayerNorms stay float32, being 4 to 5 % of the bytes.
Weights have one scale for each output channel, activations are rounded by the graph with one for each token. Each
matrix is quantized in the order of the forward pass, on inputs that the quantized matrices before it give:

1. *Shift.* Each channel of its input is centred on its range; the bias takes that up.
2. *Smoothing.* Channels are divided by factors that the weights are multiplied with (:mod:`.smoothing`).
3. *Rounding.* Weights are rounded so that the product changes least (:mod:`.rounding`).
4. *Bias.* It is set so that the mean output is the float encoder's.

All of it is computed in double precision, or with integers (:mod:`.integers`): the order in which a CPU's BLAS adds
tips no rounding then, and machines with other instructions write the same bundle. In single precision two machines
wrote bundles of the same mean cosine, but with 64.58 and 64.81 nDCG@10 on SciFact.

The graph pays little for it. Inputs that are a LayerNorm's output are shifted and divided by its weight and bias, and
the residual, which reads the same output, multiplies the factors back in; the attention's context by the weights and
biases of the values, since attention weights sum to 1; the activation's output is multiplied, not shifted. The inputs
of Dense modules after the pooling are shifted and divided as they are: it is one row for each text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedge_export.encoder import (
    CENTRE,
    Dense,
    Encoder,
    FloatArray,
    Head,
    HeadNorm,
    Layer,
    LayerNorm,
    Linear,
    QuantizedLinear,
    QuantizedTable,
)
from embedge_export.quantize.integers import RoundedInputs, round_inputs
from embedge_export.quantize.rounding import column_scales, round_columns, round_rows
from embedge_export.quantize.smoothing import find_smoothing
from embedge_export.reference.equations import activate_dense, pool
from embedge_export.reference.forward import Array, activate, attend, normalize

RECIPE = (
    "int8 weights per output channel (GPTQ), 8-bit activations per token, shifted and smoothed; int8 word table per row"
)

_LIMIT = 127
# How much the noise of the weights counts against that of the activations; 0.3 and 3 lose 0.00007 of MiniLM's cosine.
_KAPPA = 1.0
# After the activation hardly anything is negative, and a low zero point gives the positive side finer steps.
ACTIVATION_ZERO_POINT = 32
# Tokens that the smoothing is found on; the rest of the calibration adds nothing to it.
_SMOOTHING_TOKENS = 1000
# Of this many calibration texts, one is run through the float encoder too: its mean outputs need no more.
_EXACT_TEXTS = 3


@dataclass(frozen=True)
class Site:
    """A matrix quantized for shifted and smoothed inputs."""

    linear: QuantizedLinear
    shift: FloatArray
    smoothing: FloatArray

    @property
    def standalone(self) -> QuantizedLinear:
        """For inputs that are neither shifted nor smoothed yet."""
        return replace(self.linear, shift=self.shift if self.shift.any() else None, smoothing=self.smoothing)


@dataclass(frozen=True)
class _LayerSites:
    qkv: Site
    attention_output: Site
    intermediate: Site
    output: Site


def int8(
    encoder: Encoder, head: Head, calibration: Sequence[Sequence[int]], on_step: Callable[[str], None] = lambda _: None
) -> tuple[Encoder, Head]:
    """Both with all matrices in int8, and the word table, calibrated on texts given as token ids.

    ``on_step`` is called with a line of text before each layer.
    """
    assert isinstance(encoder.words, np.ndarray)
    words = QuantizedTable(*round_rows(encoder.words))
    # Those that the float encoder runs on come first.
    calibration = [ids for start in range(_EXACT_TEXTS) for ids in calibration[start::_EXACT_TEXTS]]
    lengths = [len(ids) for ids in calibration]
    ids = np.concatenate([encoder.word_ids(ids) for ids in calibration])
    positions = np.concatenate([encoder.offsets(ids) for ids in calibration]).astype(np.float64)
    x = _norm(words.codes[ids] * words.scale[ids] + positions, encoder.norm, encoder)
    some = lengths[: -(-len(lengths) // _EXACT_TEXTS)]
    exact = _norm(encoder.words[ids[: sum(some)]] + positions[: sum(some)], encoder.norm, encoder)
    sites = []
    for number, layer in enumerate(encoder.layers, 1):
        on_step(f"quantizing layer {number} of {len(encoder.layers)}")
        quantized, x, exact = _quantize_layer(layer, x, exact, lengths, encoder)
        sites.append(quantized)
    layers = [
        _fold_layer(layer, quantized, following.qkv if following else None)
        for layer, quantized, following in zip(encoder.layers, sites, [*sites[1:], None], strict=True)
    ]
    encoder = replace(encoder, words=words, norm=_fold_norm(encoder.norm, sites[0].qkv), layers=tuple(layers))
    pooled = [pool(head, np.split(states, np.cumsum(of)[:-1])) for states, of in ((x, lengths), (exact, some))]
    return encoder, int8_head(head, *pooled)


def int8_head(head: Head, x: Array, exact: Array) -> Head:
    """The head with its matrices in int8, but for those with few outputs.

    ``x`` and ``exact`` are the pooled vectors of a quantized and of a float network, as for :func:`quantize_matrix`.
    They are shifted by their mean: the middle of the range depends on a few of them, and for mean pooling costs 0.00002
    of the cosine. That there are about 200 does no harm: rounding to nearest is as good as GPTQ, to 0.00001.
    """
    layers: list[Dense | HeadNorm] = []
    for layer in head.layers:
        if isinstance(layer, HeadNorm):
            layers.append(layer)
            x, exact = (normalize(each, layer.norm, layer.epsilon) for each in (x, exact))
            continue
        assert isinstance(layer.linear, Linear)
        linear: Linear | QuantizedLinear = layer.linear
        if layer.has_few_outputs:
            x, exact = (each @ layer.linear.weight.astype(np.float64) + layer.linear.bias for each in (x, exact))
        else:
            shift = x.mean(axis=0, dtype=np.float64).astype(np.float32)
            site, x, exact = _quantize(layer.linear, x, exact, shift=shift)
            linear = site.standalone
        layers.append(replace(layer, linear=linear))
        x, exact = activate_dense(x, layer.activation), activate_dense(exact, layer.activation)
    return replace(head, layers=tuple(layers))


def _quantize_layer(
    layer: Layer, x: Array, exact: Array, lengths: Sequence[int], encoder: Encoder
) -> tuple[_LayerSites, Array, Array]:
    """Quantize a layer; also returns what the quantized and what the float matrices make of ``x`` and ``exact``."""
    heads = encoder.heads
    some = lengths[: -(-len(lengths) // _EXACT_TEXTS)]
    qkv, a, b = _quantize(layer.qkv, x, exact)
    attention, a, b = _quantize(layer.attention_output, attend(a, lengths, heads), attend(b, some, heads))
    x = _norm(x + a, layer.attention_norm, encoder)
    exact = _norm(exact + b, layer.attention_norm, encoder)
    inner, a, b = _quantize(layer.intermediate, x, exact)
    a, b = activate(a, encoder.activation), activate(b, encoder.activation)
    output, a, b = _quantize(layer.output, a, b, ACTIVATION_ZERO_POINT)
    x = _norm(x + a, layer.output_norm, encoder)
    exact = _norm(exact + b, layer.output_norm, encoder)
    return _LayerSites(qkv, attention, inner, output), x, exact


def _quantize(
    linear: Linear | QuantizedLinear,
    x: Array,
    exact: Array,
    zero_point: int = CENTRE,
    *,
    shift: FloatArray | None = None,
) -> tuple[Site, Array, Array]:
    """Quantize one matrix; also returns what the quantized one makes of ``x`` and the float one of ``exact``."""
    assert isinstance(linear, Linear)
    site, rounded = quantize_matrix(linear, x, exact, zero_point, shift=shift)
    a = rounded.times(site.linear.codes, site.linear.scale)
    a += site.linear.bias
    b = exact @ linear.weight.astype(np.float64)
    b += linear.bias
    return site, a, b


def quantize_matrix(
    linear: Linear, x: Array, exact: Array, zero_point: int = CENTRE, *, shift: FloatArray | None = None
) -> tuple[Site, RoundedInputs]:
    """Quantize one matrix for ``x``; also returns what ``x`` is rounded to.

    ``x`` and ``exact`` are what a quantized and what a float network have before it, the latter for the first tokens of
    ``x`` at least. Without a ``shift``, channels are centred on their range, but for what comes out of an activation.
    Shapes: ``(tokens, in)``, ``(some tokens, in)``, ``(in,)``.
    """
    one_sided = zero_point != CENTRE
    weight = linear.weight.astype(np.float64)
    if shift is None:
        middle = (x.max(axis=0) + x.min(axis=0)) / 2
        shift = np.zeros(x.shape[1], np.float32) if one_sided else middle.astype(np.float32)
    some = x[:: max(1, len(x) // _SMOOTHING_TOKENS)].astype(np.float64) - shift
    smoothing = find_smoothing(some, weight, zero_point, _KAPPA)
    rounded = round_inputs(x, shift, smoothing, zero_point)
    covariance = rounded.covariance()
    smoothed = weight * smoothing[:, None]
    scale = column_scales(smoothed, np.diag(covariance), _LIMIT)
    codes = round_columns(smoothed, covariance, scale, _LIMIT)
    # The mean of products is the product of the mean.
    outputs = rounded.mean(len(exact)) @ codes.astype(np.float64) * scale
    bias = (exact.mean(axis=0, dtype=np.float64) @ weight + linear.bias - outputs).astype(np.float32)
    smallest = rounded.smallest_scale
    quantized = QuantizedLinear(codes, scale, bias, zero_point, smallest, smoothing if one_sided else None)
    return Site(quantized, shift, smoothing), rounded


def _fold_layer(layer: Layer, sites: _LayerSites, following: Site | None) -> Layer:
    """The layer with shifts and smoothing taken up by its neighbours; ``following`` reads its output."""
    hidden = len(layer.output_norm.weight)
    values = slice(2 * hidden, 3 * hidden)
    scale, bias = sites.qkv.linear.scale.copy(), sites.qkv.linear.bias.copy()
    scale[values] /= sites.attention_output.smoothing
    bias[values] = (bias[values] - sites.attention_output.shift) / sites.attention_output.smoothing
    return Layer(
        qkv=replace(sites.qkv.linear, scale=scale, bias=bias),
        # The residual that is added next lacks the shift of what it reads.
        attention_output=_add_bias(sites.attention_output.linear, sites.qkv.shift),
        attention_norm=_fold_norm(layer.attention_norm, sites.intermediate),
        intermediate=sites.intermediate.linear,
        output=_add_bias(sites.output.linear, sites.intermediate.shift),
        output_norm=_fold_norm(layer.output_norm, following) if following else layer.output_norm,
    )


def _fold_norm(norm: LayerNorm, site: Site) -> LayerNorm:
    return LayerNorm(norm.weight / site.smoothing, (norm.bias - site.shift) / site.smoothing, site.smoothing)


def _add_bias(linear: QuantizedLinear, bias: FloatArray) -> QuantizedLinear:
    return replace(linear, bias=linear.bias + bias)


def _norm(x: Array, norm: LayerNorm, encoder: Encoder) -> Array:
    return normalize(x, norm, encoder.epsilon)
