"""The Dense modules of sentence-transformers, which follow the pooling."""

from pathlib import Path

import numpy as np

from embedge.errors import CheckpointError
from embedge_export.checkpoint.config import size
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.weights import read_tensors
from embedge_export.encoder import Dense, DenseActivation, Linear

_ACTIVATIONS: dict[str, DenseActivation] = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
}
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
    if size(config, "in_features") != inputs:
        raise CheckpointError(f"{path}: in_features is {config['in_features']}, what comes before gives {inputs}")
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in (None, "sentence_embedding"):
            raise CheckpointError(f"{path}: {name} is {config[name]!r}; embedge has Dense modules on sentences only")
    told = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    name = torch_class(told)
    if name not in _ACTIVATIONS:
        raise CheckpointError(f"{path}: activation_function {told!r} is none of {', '.join(_ACTIVATIONS)} of torch.nn")
    outputs = size(config, "out_features")
    tensors = read_tensors(folder)
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (outputs, inputs)}
    if config.get("bias", True):
        shapes["linear.bias"] = (outputs,)
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
        raise CheckpointError(f"{folder}: the weights are not a matrix of {outputs} x {inputs} with its bias")
    weight = tensors["linear.weight"].read()
    bias = tensors["linear.bias"].read() if "linear.bias" in tensors else np.zeros(outputs, np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise CheckpointError(f"{folder}: the weights hold NaN or infinity; the checkpoint is damaged")
    return Dense(Linear(np.ascontiguousarray(weight.T), bias), _ACTIVATIONS[name])


def torch_class(told: object) -> str:
    """The name of the class of torch.nn that ``told`` is the path of; empty for another class."""
    package, _, name = str(told).rpartition(".")
    return name if package in _PACKAGES else ""
