"""The small files of a checkpoint, a directory in the Hugging Face layout or a hub id, as a :class:`Checkpoint`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedge.bundle import hash_file
from embedge.errors import CheckpointError
from embedge.manifest import Source, TokenizerFacts
from embedge_export.checkpoint import config as families
from embedge_export.checkpoint import sentence_transformers
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.hub import fetch
from embedge_export.checkpoint.registry import KnownModel, known_models
from embedge_export.checkpoint.tokenizer import load_tokenizer
from embedge_export.checkpoint.weights import WEIGHTS
from embedge_export.encoder import Pooling

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """Everything but the weights that decides a model's vectors."""

    directory: Path
    config: dict[str, Any]
    """``config.json``."""
    source: Source
    vocabulary_size: int
    tokenizer: str
    """``tokenizer.json`` without padding and truncation."""
    tokenizer_facts: TokenizerFacts
    pooling: Pooling
    max_tokens: int
    prompts: dict[str, str]
    """``query`` and ``document``, often empty."""


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
    _check_options(max_tokens, pooling, query_prompt, document_prompt)
    directory, model_id, revision = _find(source)
    config = read_object(directory / "config.json")
    families.check_encoder(config)
    vocabulary = families.size(config, "vocab_size")
    digest = hash_file(directory / WEIGHTS) if (directory / WEIGHTS).is_file() else None
    known = _known(model_id, digest, directory)
    transformer = sentence_transformers.transformer(directory)
    told = sentence_transformers.limit(directory, transformer) if max_tokens is None else None
    st_prompts = sentence_transformers.prompts(directory)
    told_pooling = sentence_transformers.pooling(directory)
    pooling = pooling or told_pooling or (known.pooling if known else None)
    if pooling is None:
        raise CheckpointError(
            f"{directory} has no 1_Pooling/config.json to tell its pooling: give --pooling cls or mean"
        )
    tokenizer, facts = load_tokenizer(directory, vocabulary, lower_case=bool(transformer.get("do_lower_case")))
    return Checkpoint(
        directory=directory,
        config=config,
        source=Source(
            id=known.id if known else model_id or directory.resolve().name,
            revision=revision or (known.revision if known else None),
            weights_sha256=digest,
            license=known.license if known else None,
        ),
        vocabulary_size=vocabulary,
        tokenizer=tokenizer,
        tokenizer_facts=facts,
        pooling=pooling,
        max_tokens=_limit(max_tokens, told, known, families.positions(config)),
        prompts={
            "query": _first(query_prompt, st_prompts.get("query"), known.query_prompt if known else None),
            "document": _first(
                document_prompt,
                st_prompts.get("document"),
                st_prompts.get("passage"),
                known.document_prompt if known else None,
            ),
        },
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


def _check_options(max_tokens: object, pooling: object, *prompts: object) -> None:
    if pooling not in (None, "cls", "mean"):
        raise CheckpointError(f"pooling {pooling!r}: give 'cls' or 'mean'")
    if max_tokens is not None and type(max_tokens) is not int:
        raise CheckpointError(f"max_tokens {max_tokens!r} is not a whole number")
    for prompt in prompts:
        if prompt is not None and not (isinstance(prompt, str) and sentence_transformers.is_text(prompt)):
            raise CheckpointError(f"prompt {prompt!a} is not a text")


def _limit(asked: int | None, told: int | None, known: KnownModel | None, positions: int) -> int:
    """The model's longest input in tokens."""
    if asked is not None:
        if not 3 <= asked <= positions:
            raise CheckpointError(f"--max-tokens {asked}: the model has positions for 3 to {positions} tokens")
        return asked
    if told is None:
        return min(known.max_tokens if known else positions, positions)
    return min(told, positions)


def _first(*values: str | None) -> str:
    return next((value for value in values if value is not None), "")
