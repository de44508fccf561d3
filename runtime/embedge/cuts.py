"""Where a long text may be cut so that the tokens of its parts are the tokens of the whole."""

import json
import re
from typing import Any

from tokenizers import Tokenizer

# BERT's normalizer and pre-tokenizer split here themselves. Brackets are left out: they are part of added tokens such
# as "[MASK]".
_BERT = re.compile(r"[ \t\n\r\u00a0\u3000.,;:!?\u4e00-\u9fff]")

# Letters and digits that no normalizer joins with a space beside them: none of them combines.
_LETTER = (
    "[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f\u05d0-\u05ea"
    "\u0621-\u063a\u0641-\u064a\u0905-\u0939\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]"
)
# In front of a single space or end of a line between two of them.
_SPACE = re.compile(f"(?<={_LETTER}) (?={_LETTER})")
_SPACE_OR_LINE = re.compile(f"(?<={_LETTER})[ \n](?={_LETTER})")

# These change a character by itself, or with those that combine with it.
_LOCAL = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents"}
_RUNS_OF_SPACES = {"Regex": " {2,}"}
# These split at white space, so that every word is read by itself, and what may come behind them.
_SPLITTING = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_WITHIN_WORDS = {*_SPLITTING, "ByteLevel", "Digits", "Metaspace", "Punctuation"}


def find_cuts(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """What matches where a text may be cut, at the match's start; ``None`` where that is not known.

    Tokenizers in use read a text word by word: BERT's word pieces; the byte pairs of GPT-2 and RoBERTa, whose words
    begin with the space in front of them; SentencePiece's unigrams (XLM-R), which mark the words' starts. The second
    part of a text that is cut in front of a single space begins as that word does in the whole text.
    """
    normalizers = _steps(tokenizer.normalizer, "normalizers")
    splitters = _steps(tokenizer.pre_tokenizer, "pretokenizers")
    cuts = _cuts(normalizers, splitters)
    return cuts if cuts and not _in_added_tokens(tokenizer, cuts) else None


def _cuts(normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]]) -> re.Pattern[str] | None:
    kinds = [step["type"] for step in splitters]
    if [step["type"] for step in normalizers] == ["BertNormalizer"] and kinds == ["BertPreTokenizer"]:
        return _BERT if normalizers[0]["handle_chinese_chars"] else _SPACE_OR_LINE
    for step in normalizers:
        if step["type"] not in _LOCAL and not (step["type"] == "Replace" and step["pattern"] == _RUNS_OF_SPACES):
            return None
    if kinds == ["ByteLevel"] and splitters[0]["use_regex"]:
        # It may put a space in front of what does not begin with one.
        return _SPACE if splitters[0]["add_prefix_space"] else _SPACE_OR_LINE
    if kinds == ["Metaspace"] and splitters[0].get("split", True):
        return _SPACE
    if kinds and kinds[0] in _SPLITTING and set(kinds) <= _WITHIN_WORDS:
        return _SPACE_OR_LINE
    return None


def _in_added_tokens(tokenizer: Tokenizer, cuts: re.Pattern[str]) -> bool:
    """Whether a cut may touch an added token, which may take the white space beside it."""
    for token in tokenizer.get_added_tokens_decoder().values():
        normalized = tokenizer.normalizer.normalize_str(token.content) if tokenizer.normalizer else token.content
        for content in (token.content, normalized):
            # Letters around it show whether it may lie beside a cut.
            if cuts is _BERT and cuts.search(content):
                return True
            if cuts is not _BERT and (re.search(f"^{_LETTER}|{_LETTER}$", content) or _has_single_space(content)):
                return True
    return False


def _has_single_space(content: str) -> bool:
    return any(character.isspace() for character in content) and not (content.isspace() and len(content) > 1)


def _steps(part: Any, name: str) -> list[dict[str, Any]]:
    """The settings of a part of a tokenizer, one by one where it is a sequence."""
    if part is None:
        return []
    # What is pickled of one is its JSON; few of the settings are attributes.
    settings = json.loads(part.__getstate__())
    steps: list[dict[str, Any]] = settings[name] if settings["type"] == "Sequence" else [settings]
    return steps
