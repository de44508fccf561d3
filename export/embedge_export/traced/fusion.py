"""A transformers model as a fused ONNX graph: optimum traces it, ONNX Runtime's transformer optimizer fuses it.

The optimizer is called directly: optimum's ``ORTOptimizer`` hands the same options to it, but refuses model types that
it does well. Attention becomes ``MultiHeadAttention``, which leaves the matrices before it to
:mod:`embedge_export.traced.rewrite`. Left out are the fusions that ONNX Runtime's CPU kernels are slower in: BiasGelu,
EmbedLayerNormalization, and SkipLayerNormalization where the installed version is.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from optimum.exporters.onnx import onnx_export_from_model
from transformers.utils import logging as transformers_logging

from embedge.errors import ExportError
from embedge_export.checkpoint import config as families
from embedge_export.traced.timing import skip_layer_norm_is_fast

# Model types whose attention the optimizer is known to fuse, in every layer.
_ATTENTION_FUSED = (
    *("bert", "big_bird", "camembert", "data2vec-text", "distilbert", "electra", "ibert", "rembert", "roberta"),
    "xlm-roberta",
)
# Those that have two LayerNorms in each layer, one more, and an activation in each layer.
_NORMS_FUSED = (*_ATTENTION_FUSED, "albert", "convbert", "deberta", "deberta-v2", "modernbert", "mpnet", "roformer")
_GELUS = {"gelu": "Gelu", "gelu_new": "FastGelu"}


def trace(network: Any, config: Mapping[str, Any]) -> onnx.ModelProto:
    """The graph of ``network``, a transformers model; it gives ``last_hidden_state``.

    Raises:
        ExportError: optimum can't export it, or fusions that its model type must have did not happen.
    """
    options = FusionOptions("bert")
    options.use_multi_head_attention = True
    options.enable_bias_gelu = options.enable_bias_skip_layer_norm = options.enable_embed_layer_norm = False
    options.enable_skip_layer_norm = skip_layer_norm_is_fast()
    with tempfile.TemporaryDirectory(prefix="embedge-") as place:
        try:
            onnx_export_from_model(network, place, task="feature-extraction", do_validation=False)
        except Exception as exc:
            why = " ".join(str(exc).split())
            raise ExportError(f"optimum can't export model_type {config.get('model_type')!r}: {why}") from exc
        path = str(Path(place) / "model.onnx")
        fused: onnx.ModelProto = optimize_model(path, "bert", opt_level=1, optimization_options=options).model
    _check(Counter(node.op_type for node in fused.graph.node), config)
    return fused


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what torch, transformers and optimum log, warn and print; errors are raised besides."""
    before, bars = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(max(before, logging.WARNING))
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if bars:
            transformers_logging.enable_progress_bar()


def _check(operators: Counter[str], config: Mapping[str, Any]) -> None:
    """Fail where a fusion that must have happened did not, as after a release of torch that traces in another way."""
    config = families.bert_config(config)
    if config["model_type"] not in _NORMS_FUSED:
        return
    layers = families.size(config, "num_hidden_layers")
    expected = {"LayerNormalization": 2 * layers + 1}
    activation = config.get("hidden_act", "gelu")
    if activation in _GELUS:
        expected[_GELUS[activation]] = layers
    if config["model_type"] in _ATTENTION_FUSED:
        expected["MultiHeadAttention"] = layers
    norms = operators["LayerNormalization"] + operators["SkipLayerNormalization"]
    found = {**operators, "LayerNormalization": norms}
    missed = [
        f"{found.get(kind, 0)} instead of {count} {kind}"
        for kind, count in expected.items()
        if found.get(kind, 0) != count
    ]
    if missed:
        raise ExportError(
            f"the graph of this {config['model_type']} was not fused as it must be: it has {', '.join(missed)}; "
            "install the versions that pip install 'embedge[optimum]' brings"
        )
