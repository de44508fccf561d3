"""What sentence-transformers' ``modules.json`` chains: the encoder, its pooling, and what comes after.

Every module is read from the folder that the file gives it. Without the file a checkpoint is an encoder alone.
"""

import typing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_json, read_object
from embedge_export.encoder import POOLINGS, Pooling

# In the order in which sentence-transformers joins the vectors of several.
_OLD_FLAGS: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# The encoder's own settings, by the names that sentence-transformers tries, in its order.
_SETTINGS = [
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
# What the encoder gives, by its task; the module's output is of one kind then.
_OUTPUTS = {
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
}
# Keyword arguments of transformers that change no vector of float32 weights.
_HARMLESS_ARGUMENTS = ("attn_implementation", "dtype", "torch_dtype", "trust_remote_code", "revision", "use_fast")
_NO_EFFECT = ("Dropout",)
_ADVICE = "embedge writes a Transformer, Pooling, Dense and LayerNorm modules, and Normalize, in this order"
HeadModule = Literal["Dense", "LayerNorm"]
_HEAD_MODULES: tuple[HeadModule, ...] = typing.get_args(HeadModule)


@dataclass(frozen=True)
class Modules:
    """Folders of the parts of a checkpoint, and how they are put together."""

    encoder: Path
    pooling: tuple[Pooling, ...] | None
    """``None`` where the checkpoint does not say."""
    include_prompt: bool
    """Whether the tokens of a prompt are pooled too."""
    head: tuple[tuple[HeadModule, Path], ...]
    """What follows the pooling, but for Normalize."""
    normalize: bool
    listed: bool
    """Whether there is a ``modules.json``."""


def read_modules(directory: Path) -> Modules:
    """Read ``modules.json``, and the pooling's own settings.

    Raises:
        CheckpointError: a module that embedge can't write, in another order, or with code of its own.
    """
    path = directory / "modules.json"
    listed = read_json(path, optional=True)
    if listed is None:
        # What an encoder that was saved alone may have beside it.
        pooling, include_prompt = _pooling(directory / "1_Pooling")
        return Modules(directory, pooling, include_prompt, (), normalize=True, listed=False)
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise CheckpointError(f"{path} is no list of modules; fetch it again")
    called = [str(module["name"]) for module in listed if "name" in module]
    if len({*called}) < len(called):
        raise CheckpointError(f"{path} has two modules of one name; sentence-transformers would load the last of them")
    kinds = [(kind, _folder(directory, module, path)) for module in listed if (kind := _kind(module, path))]
    names = [kind for kind, _ in kinds]
    if names == ["Transformer"]:  # a reranker, as sentence-transformers saves it since 5.4
        return Modules(kinds[0][1], None, True, (), normalize=False, listed=False)
    head = [(module, folder) for kind, folder in kinds for module in _HEAD_MODULES if kind == module]
    wanted = ["Transformer", "Pooling", *(module for module, _ in head), *["Normalize"] * names.count("Normalize")]
    if names != wanted or names.count("Normalize") > 1:
        raise CheckpointError(f"{path} chains {', '.join(names) or 'nothing'}; {_ADVICE}")
    pooling, include_prompt = _pooling(kinds[1][1])
    if pooling is None:
        raise CheckpointError(f"{path} lists a Pooling module, and {kinds[1][1]} has no config.json; fetch it again")
    return Modules(kinds[0][1], pooling, include_prompt, tuple(head), normalize="Normalize" in names, listed=True)


def read_settings(encoder: Path) -> tuple[Path, dict[str, Any]]:
    """The settings of the Transformer module, and the file that they are in.

    Raises:
        CheckpointError: one that changes vectors and that embedge does not have.
    """
    paths = [encoder / name for name in _SETTINGS]
    path = next((path for path in paths if read_object(path, optional=True)), paths[0])
    settings = read_object(path, optional=True)
    usual: dict[str, Any] = {"transformer_task": settings.get("transformer_task", "feature-extraction")}
    if outputs := _OUTPUTS.get(str(usual["transformer_task"])):
        texts = {"method": "forward", "method_output_name": outputs[0]}
        usual |= {"modality_config": {"text": texts}, "module_output_name": outputs[1]}
    for name, value in settings.items():
        if name in ("max_seq_length", "do_lower_case", "unpad_inputs") or (outputs and usual.get(name) == value):
            continue
        if not value and name != "modality_config":
            continue
        if name.endswith(("_args", "_kwargs")) and isinstance(value, dict):
            changing = sorted(set(value) - {*_HARMLESS_ARGUMENTS})
            if not changing:
                continue
            name = f"{name}: {', '.join(changing)}"
        raise CheckpointError(f"{path}: embedge does not know what {name} changes; remove it if it changes nothing")
    return path, settings


def _kind(module: dict[str, Any], path: Path) -> str:
    """The name of a module's class; empty for one that does nothing when texts are embedded."""
    kind = str(module.get("type"))
    package, _, name = kind.rpartition(".")
    if not f"{package}.".startswith("sentence_transformers."):
        raise CheckpointError(f"{path}: {kind} is code that comes with the checkpoint, which embedge does not run")
    if name in _NO_EFFECT:
        return ""
    if name not in ("Transformer", "Pooling", *_HEAD_MODULES, "Normalize"):
        raise CheckpointError(f"{path} has a {name} module; {_ADVICE}")
    if module.get("kwargs"):
        raise CheckpointError(f"{path}: the {name} module takes {module['kwargs']!r} from callers; {_ADVICE}")
    return name


def _folder(directory: Path, module: dict[str, Any], path: Path) -> Path:
    name = module.get("path")
    if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise CheckpointError(f"{path}: a module lies in {name!r}, which is no folder of the checkpoint")
    return directory / name


def _pooling(folder: Path) -> tuple[tuple[Pooling, ...] | None, bool]:
    """Its modes, ``None`` where there is no file, and whether prompts are pooled too."""
    path = folder / "config.json"
    config = read_object(path, optional=True)
    if not config:
        return None, True
    known = {*_OLD_FLAGS, "pooling_mode", "include_prompt", "word_embedding_dimension", "embedding_dimension"}
    if unknown := sorted({*config} - known):
        raise CheckpointError(f"{path}: embedge does not know what {', '.join(unknown)} changes")
    told = config.get("pooling_mode")
    if told is None:
        told = [mode for flag, mode in _OLD_FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [told] if isinstance(told, str) else told
    if not isinstance(modes, list) or not modes or not {*map(str, modes)} <= {*POOLINGS}:
        raise CheckpointError(f"{path} asks for {told!r} pooling; embedge has {', '.join(POOLINGS)}")
    return tuple(modes), config.get("include_prompt") is not False
