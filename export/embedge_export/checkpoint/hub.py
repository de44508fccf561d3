"""The model hub: a hub id becomes a directory with the checkpoint's files."""

import contextlib
import os
from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.registry import KnownModel
from embedge_export.checkpoint.weights import WEIGHTS

# Whatever a checkpoint's own code could be is not fetched, nor are its other formats.
_FILES = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
]


def fetch(model_id: str, known: KnownModel | None) -> tuple[Path, str]:
    """Download a checkpoint, or find it in the hub's cache; returns its directory and revision.

    A known model is fetched at its pinned revision, and not looked for on the hub when that is in the cache; others
    at the newest revision.

    Raises:
        CheckpointError: the hub can't be reached, or has no such model.
    """
    # All three are read when huggingface_hub is imported; its errors are raised besides.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_VERBOSITY"] = "critical"
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    revision = known.revision if known else None
    if known:
        with contextlib.suppress(LocalEntryNotFoundError):
            cached = Path(snapshot_download(model_id, revision=revision, local_files_only=True))
            if (cached / WEIGHTS).is_file() and (cached / "tokenizer.json").is_file():
                return cached, known.revision
    try:
        # Asked first, because the download tries an unreachable hub six times over half a minute.
        revision = HfApi().model_info(model_id, revision=revision, timeout=10).sha
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=_FILES)), str(revision)
    except GatedRepoError as exc:
        raise CheckpointError(f"{model_id}: accept its licence on the hub and log in with `hf auth login`") from exc
    except RepositoryNotFoundError as exc:
        raise CheckpointError(f"{model_id}: no such directory here, and no such model on the hub") from exc
    except Exception as exc:
        raise CheckpointError(
            f"{model_id} can't be fetched from the model hub ({_first_line(exc)}); bring its files here on your own "
            "and give their directory in place of the id"
        ) from exc


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
