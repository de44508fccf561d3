"""A checkpoint directory in the Hugging Face layout, or a hub id, becomes a :class:`Checkpoint`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedge.bundle import hash_file
from embedge.errors import CheckpointError
from embedge.manifest import Prompts, Source
from embedge_export.encoder import Encoder, Pooling
from embedge_export.hub import fetch
from embedge_export.registry import KnownModel, known_models
from embedge_export.weights import WEIGHTS, load_encoder

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """A model read from its files, with everything that decides its vectors."""

    source: Source
    encoder: Encoder
    tokenizer: str
    """``tokenizer.json`` without padding and truncation."""
    pooling: Pooling
    max_tokens: int
    prompts: Prompts


def load(
    source: str,
    *,
    max_tokens: int | None = None,
    pooling: Pooling | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> Checkpoint:
    """Read the checkpoint at ``source``, a directory or a hub id.

    What is not given is taken from the checkpoint's sentence-transformers files, then from the registry if the model
    is known there (by its id, or by the hash of its weights), then: no prompts, and all positions for ``max_tokens``.

    Raises:
        CheckpointError: the files can't be had or used; the message says which, why, and what to do instead.
    """
    directory, model_id, revision = _find(source)
    encoder = load_encoder(directory, _read_json(directory / "config.json"))
    digest = hash_file(directory / WEIGHTS) if (directory / WEIGHTS).is_file() else None
    known = _known(model_id, digest, directory)
    st_limit = _read_json(directory / "sentence_bert_config.json", missing={}).get("max_seq_length")
    st_prompts = _read_json(directory / "config_sentence_transformers.json", missing={}).get("prompts") or {}
    pooling = pooling or _pooling(directory) or (known.pooling if known else None)
    if pooling is None:
        raise CheckpointError(
            f"{directory} has no 1_Pooling/config.json to tell its pooling: give --pooling cls or mean"
        )
    return Checkpoint(
        source=Source(
            id=known.id if known else model_id or directory.resolve().name,
            revision=revision or (known.revision if known else None),
            weights_sha256=digest,
            license=known.license if known else None,
        ),
        encoder=encoder,
        tokenizer=_tokenizer(directory, encoder.vocabulary_size),
        pooling=pooling,
        max_tokens=_limit(max_tokens, st_limit or (known.max_tokens if known else None), len(encoder.positions)),
        prompts=Prompts(
            query=_first(query_prompt, st_prompts.get("query"), known.query_prompt if known else None),
            document=_first(
                document_prompt,
                st_prompts.get("document"),
                st_prompts.get("passage"),
                known.document_prompt if known else None,
            ),
        ),
    )


def _find(source: str) -> tuple[Path, str | None, str | None]:
    """Directory, hub id and revision of ``source``."""
    directory = Path(source)
    if directory.is_dir():
        return directory, None, None
    if directory.exists():
        raise CheckpointError(f"{source} is a file: give the directory of the checkpoint that it belongs to")
    if not _HUB_ID.fullmatch(source):
        raise CheckpointError(f"{source} is neither a directory nor a hub id (ORGANISATION/NAME)")
    known = next((model for model in known_models() if model.id.lower() == source.lower()), None)
    directory, revision = fetch(known.id if known else source, known)
    return directory, known.id if known else source, revision


def _known(model_id: str | None, digest: str | None, directory: Path) -> KnownModel | None:
    """The registry's entry for a model: by id, in which case the hash must be the pinned one, or by hash."""
    for model in known_models():
        if model.id == model_id and model.sha256 != digest:
            raise CheckpointError(
                f"{directory / WEIGHTS} has sha256 {digest}, {model.id} at revision {model.revision} has "
                f"{model.sha256}: the file is damaged or was replaced; delete it and fetch it again"
            )
        if model.id == model_id or (model_id is None and model.sha256 == digest):
            return model
    return None


def _pooling(directory: Path) -> Pooling | None:
    """How ``1_Pooling/config.json`` says that token vectors become one, ``None`` where there is no such file."""
    for module in _read_json(directory / "modules.json", missing=[]):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise CheckpointError(
                f"{directory / 'modules.json'} has a {kind} module, which embedge can't write: use a checkpoint that "
                "ends in pooling and normalisation"
            )
    config = _read_json(directory / "1_Pooling" / "config.json", missing=None)
    if config is None:
        return None
    modes = {
        name.removeprefix("pooling_mode_") for name, on in config.items() if name.startswith("pooling_mode_") and on
    }
    modes = modes or {str(config.get("pooling_mode"))}
    if modes in ({"cls_token"}, {"cls"}):
        return "cls"
    if modes in ({"mean_tokens"}, {"mean"}):
        return "mean"
    raise CheckpointError(
        f"{directory / '1_Pooling/config.json'} asks for {' + '.join(sorted(modes))} pooling; embedge has cls and mean"
    )


def _tokenizer(directory: Path, vocabulary: int) -> str:
    """``tokenizer.json`` without padding and truncation: the runtime never pads, and truncates where it can count."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no tokenizer.json; make it with transformers' "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    fields = _read_json(path)
    largest = max([*fields.get("model", {}).get("vocab", {}).values(), -1])
    if largest >= vocabulary:
        raise CheckpointError(f"{path} gives token ids up to {largest}, the model knows {vocabulary}: wrong tokenizer")
    lowercase = _read_json(directory / "sentence_bert_config.json", missing={}).get("do_lower_case")
    normalizer = fields.get("normalizer")
    if lowercase and not (normalizer or {}).get("lowercase"):
        steps = [{"type": "Lowercase"}, *([normalizer] if normalizer else [])]
        normalizer = {"type": "Sequence", "normalizers": steps}
    fields = {**fields, "normalizer": normalizer, "padding": None, "truncation": None}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _limit(asked: int | None, told: int | None, positions: int) -> int:
    """The model's longest input in tokens."""
    if asked is None:
        return min(told or positions, positions)
    if not 3 <= asked <= positions:
        raise CheckpointError(f"--max-tokens {asked}: the model has positions for 3 to {positions} tokens")
    return asked


def _first(*values: str | None) -> str:
    return next((value for value in values if value is not None), "")


def _read_json(path: Path, missing: Any = ...) -> Any:
    """The JSON of ``path``; ``missing`` where there is no such file and that was given."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        if missing is not ...:
            return missing
        raise CheckpointError(f"{path.parent} is no checkpoint: it has no {path.name}") from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} can't be read as JSON: {exc}") from exc
