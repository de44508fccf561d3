"""The small files of a checkpoint, a directory in the Hugging Face layout or a hub id, as a :class:`Checkpoint`."""

import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedge.bundle import hash_file
from embedge.errors import CheckpointError
from embedge.inputs import whole_number
from embedge.manifest import Source, TokenizerFacts
from embedge_export.checkpoint import config as families
from embedge_export.checkpoint.card import read_card
from embedge_export.checkpoint.dense import read_dense, read_norm
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.kinds import Task, find_task, read_config
from embedge_export.checkpoint.limits import read_limit
from embedge_export.checkpoint.modules import Modules, read_modules, read_settings
from embedge_export.checkpoint.pairs import pair_facts
from embedge_export.checkpoint.prompts import SETTINGS, Prompts, check_prompts, read_prompts
from embedge_export.checkpoint.registry import Family, Similarity
from embedge_export.checkpoint.scorer import read_scorer
from embedge_export.checkpoint.sources import find, find_known, find_origin, hub_id
from embedge_export.checkpoint.tokenizer import load_tokenizer
from embedge_export.checkpoint.weights import weights_files
from embedge_export.encoder import POOLINGS, Head, Pooling

__all__ = ["Checkpoint", "hub_id", "load"]

_SIMILARITIES = typing.get_args(Similarity)


@dataclass(frozen=True)
class Checkpoint:
    """Everything but the encoder's weights that decides a model's vectors."""

    directory: Path
    """The folder of the encoder."""
    config: dict[str, Any]
    """``config.json``."""
    source: Source
    task: Task
    vocabulary_size: int
    tokenizer: str
    """``tokenizer.json`` without padding and truncation."""
    tokenizer_facts: TokenizerFacts
    head: Head
    similarity: Similarity
    max_tokens: int
    prompts: Prompts
    notes: tuple[str, ...]
    """What a user should know of how it was read, a line each."""


def load(
    source: str,
    *,
    max_tokens: int | None = None,
    pooling: Pooling | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> Checkpoint:
    """Read the checkpoint at ``source``, a directory or a hub id.

    What is not given is taken from the checkpoint's own files, then from what its family is known for, then: no
    prompts, vectors of length 1, and all positions for ``max_tokens``.

    Raises:
        CheckpointError: the files are unavailable or unusable; the message says which, why, and what to do instead.
        TypeError: an argument of the wrong type.
        ValueError: a ``pooling`` that there is not, or half of a surrogate pair in a prompt.
    """
    _check_options(pooling, {"query_prompt": query_prompt, "document_prompt": document_prompt})
    max_tokens = None if max_tokens is None else whole_number("max_tokens", max_tokens)
    root, model_id, revision = find(source)
    modules = read_modules(root)
    config = read_config(root, modules.encoder)
    task = find_task(config, modules.encoder / "config.json", listed=modules.listed)
    if task == "embed" and not modules.listed and (root / "modules.json").exists():
        raise CheckpointError(
            f"{root / 'modules.json'} chains a Transformer alone, which has no head that gives a score: an embedding "
            "model needs a Pooling, and a reranker an encoder saved as ...ForSequenceClassification"
        )
    vocabulary, hidden = families.size(config, "vocab_size"), families.hidden_size(config)
    weights = weights_files(modules.encoder)
    digest = hash_file(weights[0]) if len(weights) == 1 else None
    known = find_known(model_id, digest, weights[0], revision)
    card = read_card(root)
    origin = find_origin(root, config, card, known.id if known else model_id)
    # modules.json says all but the prompts and the similarity, for which a guess is not good enough.
    family = origin.family if origin.certain or not modules.listed else None
    settings_file, settings = read_settings(modules.encoder)
    settings_of_all = read_object(root / SETTINGS, optional=True)
    prompts = read_prompts(root, origin.family, origin.reason, query=query_prompt, document=document_prompt)
    notes = [origin.hint] if origin.hint and query_prompt is None and document_prompt is None else []
    if not modules.include_prompt:
        prompts, dropped = prompts.without_others()
        notes += [f"prompt {name} is left out: the pooling leaves prompts out, embedge does not" for name in dropped]
        if any(prompts.texts.values()):
            raise CheckpointError(
                f"{root}: the pooling leaves prompts out, which embedge does not; pass empty prompts to embed without "
                "any"
            )
    if family and task == "embed" and not modules.listed:
        length = "length 1" if family.normalize else "their own length"
        notes.append(f"{family.pooling or 'own'} pooling, {length}, {family.similarity}: {origin.reason}")
    tokenizer, facts = load_tokenizer(modules.encoder, vocabulary, lower_case=bool(settings.get("do_lower_case")))
    if task == "rerank":
        types = vocabulary if families.has_token_types(config) else 0
        facts = pair_facts(modules.encoder, tokenizer, facts, types)
        prompts = Prompts({}, None, {})  # those of an encoder are for vectors
        head = read_scorer(root, modules.encoder, config, hidden)
    else:
        head = _head(root, modules, pooling, family, hidden, settings_of_all.get("truncate_dim"))
    return Checkpoint(
        directory=modules.encoder,
        config=config,
        source=Source(
            id=known.id if known else model_id or root.resolve().name,
            revision=revision or (known.revision if known else None),
            weights_sha256=digest,
            license=known.license if known else card.license,
        ),
        task=task,
        vocabulary_size=vocabulary,
        tokenizer=tokenizer,
        tokenizer_facts=facts,
        head=head,
        similarity=_similarity(root, settings_of_all.get("similarity_fn_name"), family),
        max_tokens=read_limit(modules.encoder, max_tokens, settings_file, settings, known, families.positions(config)),
        prompts=prompts,
        notes=tuple(notes),
    )


def _head(
    root: Path, modules: Modules, pooling: Pooling | None, family: Family | None, hidden: int, dimensions: object
) -> Head:
    chosen = (pooling,) if pooling else modules.pooling or ((family.pooling,) if family and family.pooling else None)
    if chosen is None:
        raise CheckpointError(
            f"{root} has no modules.json and no 1_Pooling/config.json to tell its pooling: pass pooling, such as "
            "'cls' or 'mean' (--pooling)"
        )
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise CheckpointError(f"{root / SETTINGS}: truncate_dim is {dimensions!r}, not a number of dimensions")
    head = Head(chosen)
    for kind, folder in modules.head:
        layer = (read_dense if kind == "Dense" else read_norm)(folder, head.width(hidden))
        head = replace(head, layers=(*head.layers, layer))
    normalize = modules.normalize if modules.listed else family is None or family.normalize
    shorter = dimensions if isinstance(dimensions, int) and dimensions < head.width(hidden) else None
    return replace(head, normalize=normalize, dimensions=shorter)


def _similarity(root: Path, told: object, family: Family | None) -> Similarity:
    if told is None:
        return family.similarity if family else "cosine"
    for name in _SIMILARITIES:
        if told == name:
            similarity: Similarity = name
            return similarity
    raise CheckpointError(f"{root / SETTINGS}: similarity_fn_name {told!r} is none of {', '.join(_SIMILARITIES)}")


def _check_options(pooling: object, prompts: dict[str, str | None]) -> None:
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(f"pooling={pooling!r}: choose one of {', '.join(POOLINGS)}")
    check_prompts(prompts)
