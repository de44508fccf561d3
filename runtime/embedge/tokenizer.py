"""Texts to ragged token ids. Truncation is told, never silent."""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Encoding
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from embedge.engine.shutdown import native
from embedge.errors import BundleError, InputError, ProviderError
from embedge.manifest import TokenizerFacts

# A token of a long text costs 450 bytes while it is encoded (measured: 2.1 GB for 20 MB of English), so texts longer
# than this are encoded piece by piece.
_PIECE_CHARS = 100_000
# Texts from which on a batch is sooner encoded on several threads.
_BATCH = 16
# Where a text may be cut without changing its tokens, since BERT's normalizer and pre-tokenizer split here themselves.
# Brackets are left out: they are part of added tokens such as "[MASK]".
_CUT = r"[ \t\n\r\u00a0\u3000.,;:!?\u4e00-\u9fff]"


class Encoded(NamedTuple):
    """Token ids of some texts, each with its special tokens, and the indices of the texts that were cut to fit."""

    ids: list[list[int]]
    truncated: list[int]


class Tokenizer:
    """A ``tokenizer.json`` and the model's limit in tokens, special tokens included."""

    def __init__(self, path: Path, max_tokens: int, facts: TokenizerFacts, *, parallel: bool = True) -> None:
        """Read ``path``; ``BundleError`` when it is not a tokenizer. ``parallel`` allows a thread for each CPU."""
        try:
            self._tokenizer = HuggingFaceTokenizer.from_file(str(path))
        except Exception as exc:
            raise BundleError(f"{path} is not a tokenizer that this version of tokenizers reads: {exc}") from exc
        self.max_tokens = max_tokens
        self._facts = facts
        self._parallel = parallel
        self._special = len(facts.before) + len(facts.after)

    def encode(self, texts: Sequence[str], *, first: int = 0) -> Encoded:
        """Token ids of each text; those of more than ``max_tokens`` lose one end, and keep their special tokens.

        ``first`` is the number of the first text in its caller's list, for messages.

        Raises:
            InputError: a text that is not a ``str``, or that holds half of a surrogate pair, with its index.
        """
        # Of a long text only a prefix is encoded, so that memory does not grow with what is cut off anyway.
        _check_types(texts, first)
        texts = [self._prefix(text, index) for index, text in enumerate(texts, first)]
        ids = [encoding.ids for encoding in self._encode(texts, special=True, first=first)]
        truncated = [index for index, tokens in enumerate(ids) if len(tokens) > self.max_tokens]
        for index in truncated:
            ids[index] = self._truncate(ids[index])
        return Encoded(ids, truncated)

    def _truncate(self, ids: list[int]) -> list[int]:
        before, behind = len(self._facts.before), len(ids) - len(self._facts.after)
        room = self.max_tokens - self._special
        if self._facts.truncation_side == "left":
            return [*ids[:before], *ids[behind - room : behind], *ids[behind:]]
        return [*ids[: before + room], *ids[behind:]]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before truncation, special tokens included; raises as :meth:`encode` does."""
        _check_types(texts, 0)
        if all(len(text) <= _PIECE_CHARS for text in texts):
            return [len(encoding) for encoding in self._encode(texts, special=True)]
        return [
            sum(len(self._encode([piece], special=False, first=index)[0]) for piece in self._pieces(text))
            + self._special
            for index, text in enumerate(texts)
        ]

    def _encode(self, texts: Sequence[str], *, special: bool, first: int = 0) -> list[Encoding]:
        try:
            return native(lambda: self._encode_now(texts, special))
        except TypeError:
            _check_surrogates(texts, first)
            raise

    def _encode_now(self, texts: Sequence[str], special: bool) -> list[Encoding]:
        # The first batch starts a thread for each CPU, which few texts do without.
        if not self._parallel or len(texts) < _BATCH:
            return [self._tokenizer.encode(text, add_special_tokens=special) for text in texts]
        try:
            return self._tokenizer.encode_batch_fast(texts, add_special_tokens=special)
        except BaseException as exc:
            if type(exc).__name__ != "PanicException":  # which has no public name, and is no Exception
                raise
            raise ProviderError(
                "no further thread can be started here (a limit of processes); load the bundle with threads=1"
            ) from exc

    def _prefix(self, text: str, index: int) -> str:
        """The shortest start of a long text, by doubling, that holds more than ``max_tokens`` tokens."""
        size = 32 * self.max_tokens
        while len(text) > 2 * size and self._facts.truncation_side == "right":
            end = self._cut(text, size)
            if end < len(text) and len(self._encode([text[:end]], special=True, first=index)[0]) > self.max_tokens:
                return text[:end]
            size *= 2
        return text

    def _pieces(self, text: str) -> Iterator[str]:
        start = 0
        while start < len(text):
            end = self._cut(text, start + _PIECE_CHARS)
            yield text[start:end]
            start = end

    def _cut(self, text: str, start: int) -> int:
        """The first place from ``start`` on where the text may be cut; its end if there is none."""
        found = self._cuts.search(text, start) if self._cuts else None
        return found.start() if found else len(text)

    @functools.cached_property
    def _cuts(self) -> re.Pattern[str] | None:
        """Where texts may be cut, ``None`` where that is not known; found when the first long text comes."""
        normalizer, pre_tokenizer = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        if not (
            isinstance(normalizer, BertNormalizer)
            and normalizer.handle_chinese_chars
            and isinstance(pre_tokenizer, BertPreTokenizer)
        ):
            return None
        cuts = re.compile(_CUT)
        added = self._tokenizer.get_added_tokens_decoder().values()
        return None if any(cuts.search(token.content) for token in added) else cuts


def _check_types(texts: Sequence[object], first: int) -> None:
    """Raise ``InputError`` for the first member that is not a text; the tokenizer takes a tuple for a pair of texts."""
    for index, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise InputError(f"texts[{index}] is {type(text).__name__}, not str")


def _check_surrogates(texts: Sequence[str], first: int) -> None:
    """Raise ``InputError`` for the first text that no Unicode encoding has."""
    for index, text in enumerate(texts, first):
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise InputError(
                f"texts[{index}] has half of a surrogate pair at character {exc.start} ({text[exc.start]!a}); "
                "decode it with errors='replace', or mend it by text.encode('utf-16', 'surrogatepass').decode('utf-16')"
            ) from exc
