"""Which texts are put in front of queries and documents, and who says so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.registry import Family

SETTINGS = "config_sentence_transformers.json"
# Names whose meaning is plain, the usual ones first.
_QUERY = ("query", "search_query", "web_search_query", "retrieval.query", "s2p_query")
_DOCUMENT = ("document", "passage", "corpus", "search_document", "retrieval.passage", "retrieval.document")


@dataclass(frozen=True)
class Prompts:
    """All prompts by their names, ``query`` and ``document`` among them, often empty."""

    texts: dict[str, str]
    default: str | None
    """The name of the one for texts of no other kind."""
    origins: dict[str, str]
    """For ``query`` and ``document``: where each comes from, in words."""

    def without_others(self) -> tuple["Prompts", list[str]]:
        """Without those for neither queries nor documents, unless it is the default; and the names of the others."""
        kept = {name: text for name, text in self.texts.items() if name in ("query", "document", self.default)}
        return replace(self, texts=kept), [name for name in self.texts if name not in kept]


def read_prompts(
    directory: Path, family: Family | None, reason: str, *, query: str | None, document: str | None
) -> Prompts:
    """The prompts given, else the checkpoint's own, else those that its ``family`` is known for, by ``reason``.

    sentence-transformers writes ``"query": ""`` and ``"document": ""`` whenever it saves a model that has none, so
    empty ones are no choice, unless there is a default prompt. That one is put in front of queries and documents where
    the file has no prompt of either name, and the default is neither for queries nor for documents alone.

    Raises:
        CheckpointError: prompts that are no texts, or a default that is none of them.
    """
    path = directory / SETTINGS
    settings = read_object(path, optional=True)
    found = settings.get("prompts") or {}
    if isinstance(found, dict):
        found = {name: "" if text is None else text for name, text in found.items()}
    if not isinstance(found, dict) or not all(isinstance(text, str) and is_text(text) for text in found.values()):
        raise CheckpointError(f"{path}: prompts are not texts by their names; correct it, or remove them")
    default = settings.get("default_prompt_name")
    if default is not None and default not in {*found, "query", "document"}:
        raise CheckpointError(f"{path}: default_prompt_name is {default!r}, which is none of the prompts")
    # For queries and documents sentence-transformers takes these names, if a file has them, and nothing else.
    fills = default not in (None, *_QUERY, *_DOCUMENT) and not {"query", "document"} & found.keys()
    texts, origins = {name: text for name, text in found.items() if text}, {}
    for kind, given, names in (("query", query, _QUERY), ("document", document, _DOCUMENT)):
        name = next((name for name in names if name in texts), None)
        if given is not None:
            text, origins[kind] = given, "as given"
        elif name is not None:
            text, origins[kind] = texts[name], f"{SETTINGS}: {name}"
        elif fills:
            text, origins[kind] = found[default], f"{SETTINGS}: default_prompt_name {default}"
        elif family is not None and default is None:
            text, origins[kind] = (family.query_prompt if kind == "query" else family.document_prompt), reason
        else:
            text, origins[kind] = "", "the checkpoint names none"
        texts[kind] = text
    return Prompts(texts, default if default in texts else None, origins)


def is_text(text: str) -> bool:
    """Whether it can be encoded: no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def check_prompts(prompts: Mapping[str, object]) -> None:
    """Raise ``TypeError`` or ``ValueError`` for prompts given that are no texts."""
    for name, text in prompts.items():
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} is {type(text).__name__}, not str")
        if isinstance(text, str) and not is_text(text):
            raise ValueError(f"{name} {text!a} holds half of a surrogate pair")
