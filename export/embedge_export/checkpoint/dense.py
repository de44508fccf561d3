"""The Dense and LayerNorm modules of sentence-transformers, which follow the pooling."""

from pathlib import Path

import numpy as np

from embedge.errors import CheckpointError
from embedge_export.checkpoint.config import size
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.weights import read_tensors
from embedge_export.encoder import Dense, DenseActivation, FloatArray, HeadNorm, LayerNorm, Linear

_ACTIVATIONS: dict[str, DenseActivation] = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
}
# What torch.nn.LayerNorm adds to the variance; the module has no field for it.
_NORM_EPSILON = 1e-5
# Where torch has them.
_PACKAGES = ("torch.nn", "torch.nn.modules", "torch.nn.modules.activation", "torch.nn.modules.linear")
_FIELDS = ("in_features", "out_features", "bias", "activation_function", "module_input_name", "module_output_name")


def read_dense(folder: Path, inputs: int) -> Dense:
    """The module in ``folder``, for vectors of ``inputs`` numbers.

    Raises:
        CheckpointError: settings that embedge does not have, or weights that are not those that they call for.
    """
    path = folder / "config.json"
    config = read_object(path)
    if unknown := sorted({*config} - {*_FIELDS}):
        raise CheckpointError(f"{path}: embedge does not know what {', '.join(unknown)} changes")
    if config.get("in_features") != inputs:
        raise CheckpointError(f"{path}: in_features is {config.get('in_features')!r}, what comes before gives {inputs}")
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in (None, "sentence_embedding"):
            raise CheckpointError(f"{path}: {name} is {config[name]!r}; embedge has Dense modules on sentences only")
    told = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    name = torch_class(told)
    if name not in _ACTIVATIONS:
        raise CheckpointError(f"{path}: activation_function {told!r} is none of {', '.join(_ACTIVATIONS)} of torch.nn")
    outputs = size(config, "out_features")
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (outputs, inputs)}
    if config.get("bias", True):
        shapes["linear.bias"] = (outputs,)
    tensors = _read(folder, shapes, f"a matrix of {outputs} x {inputs} with its bias")
    bias = tensors.get("linear.bias", np.zeros(outputs, np.float32))
    return Dense(Linear(np.ascontiguousarray(tensors["linear.weight"].T), bias), _ACTIVATIONS[name])


def read_norm(folder: Path, width: int) -> HeadNorm:
    """The LayerNorm module in ``folder``, for vectors of ``width`` numbers; raises as :func:`read_dense`."""
    path = folder / "config.json"
    config = read_object(path)
    if unknown := sorted({*config} - {"dimension"}):
        raise CheckpointError(f"{path}: embedge does not know what {', '.join(unknown)} changes")
    if config.get("dimension") != width:
        raise CheckpointError(f"{path}: dimension is {config.get('dimension')!r}, what comes before gives {width}")
    shapes: dict[str, tuple[int, ...]] = {"norm.weight": (width,), "norm.bias": (width,)}
    tensors = _read(folder, shapes, f"a weight and a bias of {width} numbers")
    return HeadNorm(LayerNorm(tensors["norm.weight"], tensors["norm.bias"]), _NORM_EPSILON)


def _read(folder: Path, shapes: dict[str, tuple[int, ...]], what: str) -> dict[str, FloatArray]:
    stored = read_tensors(folder)
    if {name: tensor.shape for name, tensor in stored.items()} != shapes:
        raise CheckpointError(f"{folder}: the weights are not {what}")
    tensors = {name: tensor.read() for name, tensor in stored.items()}
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(f"{folder}: the weights hold NaN or infinity; the checkpoint is damaged")
    return tensors


def torch_class(told: object) -> str:
    """The name of the class of torch.nn that ``told`` is the path of; empty for another class."""
    package, _, name = str(told).rpartition(".")
    return name if package in _PACKAGES else ""
