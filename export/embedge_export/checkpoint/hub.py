"""The model hub: a hub id becomes a directory with the checkpoint's files."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.registry import KnownModel
from embedge_export.checkpoint.weights import WEIGHTS, weights_files

# Whatever a checkpoint's own code could be is not fetched, nor are its other formats.
_FILES = (
    "README.md",
    "adapter_config.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
)
_MODULES = ("*_Pooling/config.json", "*_Normalize/config.json")
# Modules of sentence-transformers that have weights; the encoder is often at the top instead.
_WITH_WEIGHTS = ("*_Transformer", "*_Dense")
# An index and its shards are named alike.
_WEIGHTS = (
    (WEIGHTS,),
    (f"{WEIGHTS}.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)


def fetch(model_id: str, known: KnownModel | None, revision: str | None = None) -> tuple[Path, str]:
    """Download a checkpoint, or find it in the hub's cache; returns its directory and the revision's full name.

    ``revision`` is a branch, a tag or a commit; without one, a known model is fetched at its pinned revision, another
    at the newest. A pinned one is not looked for on the hub when it is in the cache. Where the hub can't be reached
    the cache has to do.

    Raises:
        CheckpointError: the hub has no such model or revision, or can't be reached and the cache has none.
    """
    # All three are read when huggingface_hub is imported; its errors are raised besides.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_VERBOSITY"] = "critical"
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    revision = revision or (known.revision if known else None)
    cached = _cached(model_id, revision)
    if cached and known and cached.name == known.revision and (cached / "tokenizer.json").is_file():
        return cached, cached.name
    try:
        # Asked first, because the download tries an unreachable hub six times over half a minute.
        listed = HfApi().model_info(model_id, revision=revision, timeout=10).siblings or []
        wanted = _wanted([file.rfilename for file in listed])
        # Not at the commit that was listed: the cache would not know then what the newest is.
        fetched = Path(snapshot_download(model_id, revision=revision, allow_patterns=wanted))
    except GatedRepoError as exc:
        raise CheckpointError(f"{model_id}: accept its licence on the hub and log in with `hf auth login`") from exc
    except RepositoryNotFoundError as exc:
        raise CheckpointError(f"{model_id}: no such directory here, and no such model on the hub") from exc
    except RevisionNotFoundError as exc:
        raise CheckpointError(f"{model_id} has no revision {revision} on the hub") from exc
    except Exception as exc:
        if cached:
            return cached, cached.name
        raise CheckpointError(
            f"{model_id} can't be fetched from the model hub ({_first_line(exc)}); bring its files here on your own "
            "and give their directory in place of the id"
        ) from exc
    return fetched, fetched.name


def _cached(model_id: str, revision: str | None) -> Path | None:
    """The directory in the hub's cache, named like its commit, if that has the weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # Which other files are wanted depends on what the hub has.
        place = snapshot_download(model_id, revision=revision, local_files_only=True, allow_patterns=["config.json"])
    except LocalEntryNotFoundError:
        return None
    folders = [Path(place), *Path(place).glob(_WITH_WEIGHTS[0])]
    return Path(place) if any(_has_weights(folder) for folder in folders) else None


def _has_weights(folder: Path) -> bool:
    try:
        return bool(weights_files(folder))
    except CheckpointError:
        return False


def _wanted(names: Sequence[str]) -> list[str]:
    """Those of a hub's files that a checkpoint needs: of the weights the form that transformers would take."""
    folders = {name.rpartition("/")[0] for name in names}
    wanted = [*_FILES, *_MODULES]
    for folder in ["", *(f"{name}/" for name in folders if any(fnmatchcase(name, kind) for kind in _WITH_WEIGHTS))]:
        weights = next((form for form in _WEIGHTS if folder + form[0] in names), ())
        wanted += [folder + name for name in (*_FILES, *weights)]
    # A pattern's * takes a slash, too.
    depth = {pattern: pattern.count("/") for pattern in wanted}
    return [n for n in names if any(n.count("/") == depth[p] and fnmatchcase(n, p) for p in wanted)]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
