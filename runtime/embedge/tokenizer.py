"""Texts to ragged token ids. Truncation is reported, never silent."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Encoding
from tokenizers import Tokenizer as HuggingFaceTokenizer

from embedge.engine.shutdown import native
from embedge.errors import BundleError, InputError, ProviderError
from embedge.inputs import check_surrogates
from embedge.manifest import TokenizerFacts
from embedge.pieces import SMALL_WINDOW_CHARS, WINDOW_CHARS, Cutter, Side, windows

# Texts from which on a batch is sooner encoded on several threads.
_BATCH = 16


class Encoded(NamedTuple):
    """Token ids of some texts, each with its special tokens, and the indices of the texts that were cut to fit."""

    ids: list[list[int]]
    truncated: list[int]


class Reading(NamedTuple):
    """How much of a text a model reads: ``text[start:end]``."""

    tokens: int
    """Of the whole text with its prompt and special tokens, before any truncation."""
    start: int
    end: int


class Token(NamedTuple):
    """One of a text's tokens, and where it lies: ``text[start:end]``. Special tokens that were added lie nowhere."""

    id: int
    text: str
    special: bool
    start: int | None
    end: int | None


class Tokenizer:
    """A ``tokenizer.json`` and the model's limit in tokens, special tokens included."""

    def __init__(self, path: Path, max_tokens: int, facts: TokenizerFacts, *, parallel: bool = True) -> None:
        """Read ``path``; ``BundleError`` when it is not a tokenizer. ``parallel`` allows a thread for each CPU."""
        try:
            # Not from_file, which takes no path that is not UTF-8.
            self._tokenizer = HuggingFaceTokenizer.from_buffer(path.read_bytes())
        except OSError as exc:
            raise BundleError(f"{path} can't be read ({exc.strerror})") from exc
        except Exception as exc:
            raise BundleError(f"{path} is not a tokenizer that this version of tokenizers reads: {exc}") from exc
        self.max_tokens = max_tokens
        self._cutter = Cutter(self._tokenizer)
        self._facts = facts
        self._parallel = parallel
        self._window = WINDOW_CHARS if parallel else SMALL_WINDOW_CHARS
        self._special = len(facts.before) + len(facts.after)

    def encode(self, texts: Sequence[str], *, prompt: str = "", first: int = 0, side: Side | None = None) -> Encoded:
        """Token ids of each text; those of more than ``max_tokens`` lose one end, and keep their special tokens.

        ``prompt`` is put in front of each. ``first`` is the number of the first text in its caller's list, for
        messages. ``side`` is the end that is lost; ``None`` for the one that the model is made for.

        Raises:
            InputError: a text that holds half of a surrogate pair, with its index.
        """
        ids: list[list[int]] = []
        truncated = []
        # Of a long text only the end that is kept is encoded, so that memory does not grow with what is cut off anyway.
        side = side or self._facts.truncation_side
        kept = ((index, self._kept(prompt + text, index, side)) for index, text in enumerate(texts, first))
        for window in windows(kept, self._window):
            for encoding in self._encode(window, special=True):
                tokens = encoding.ids
                if len(tokens) > self.max_tokens:
                    truncated.append(len(ids))
                    tokens = self._truncate(tokens, side)
                ids.append(tokens)
        return Encoded(ids, truncated)

    def encode_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        first: int = 0,
        list_name: str = "pairs",
        side: Side | None = None,
        max_second: int | None = None,
    ) -> Encoded:
        """Token ids of each pair, as one text; errors as in :meth:`encode`, which call the caller's list ``list_name``.

        Pairs of more than ``max_tokens`` lose tokens of the longer text, until both are of one length, then of both:
        what tokenizers calls ``longest_first``. The second text of each has at most ``max_second`` tokens.
        """
        facts = self._facts
        side = side or facts.truncation_side
        room = self.max_tokens - len(facts.before) - len(facts.between) - len(facts.after)
        numbered: dict[str, int] = {}
        for index, (query, _) in enumerate(pairs, first):
            numbered.setdefault(query, index)
        queries = ((index, query) for query, index in numbered.items())
        lefts = dict(zip(numbered, self._plain_ids(queries, side, list_name), strict=True))
        rights = self._plain_ids(((index, right) for index, (_, right) in enumerate(pairs, first)), side, list_name)
        ids, truncated = [], []
        for number, ((query, _), right) in enumerate(zip(pairs, rights, strict=True)):
            left, whole = lefts[query], len(right)
            if max_second is not None:
                right = _cut_ids(right, max_second, side)
            if len(left) + len(right) > room:
                left, right = self._shorten(left, right, room, side)
            if len(left) < len(lefts[query]) or len(right) < whole:
                truncated.append(number)
            behind = [token + facts.second for token in [*right, *facts.after]]
            ids.append([*facts.before, *left, *facts.between, *behind])
        return Encoded(ids, truncated)

    def complete(self, ids: Sequence[Sequence[int]], *, side: Side | None = None) -> Encoded:
        """Token ids that somebody else made, with the special tokens of a text around those that lack them.

        Long ones are truncated as in :meth:`encode`.

        Raises:
            InputError: an id that the tokenizer does not have, with the index of its list.
        """
        before, after = list(self._facts.before), list(self._facts.after)
        size = self._tokenizer.get_vocab_size()
        whole: list[list[int]] = []
        truncated = []
        for index, given in enumerate(ids):
            tokens = list(given)
            if tokens and not (min(tokens) >= 0 and max(tokens) < size):
                raise InputError(
                    f"texts[{index}] has a token id that is not one of 0 to {size - 1}: pass ids of the model's own "
                    "tokenizer, or texts"
                )
            if not (tokens[: len(before)] == before and tokens[len(tokens) - len(after) :] == after):
                tokens = [*before, *tokens, *after]
            if len(tokens) > self.max_tokens:
                truncated.append(index)
                tokens = self._truncate(tokens, side or self._facts.truncation_side)
            whole.append(tokens)
        return Encoded(whole, truncated)

    def _plain_ids(self, texts: Iterable[tuple[int, str]], side: Side, list_name: str) -> Iterator[list[int]]:
        """Ids of texts with their numbers, without special tokens; of long ones the end that is kept."""
        kept = ((index, self._kept(text, index, side, list_name)) for index, text in texts)
        for window in windows(kept, self._window):
            yield from (encoding.ids for encoding in self._encode(window, special=False, list_name=list_name))

    def _shorten(self, left: list[int], right: list[int], room: int, side: Side) -> tuple[list[int], list[int]]:
        shorter = min(len(left), len(right))
        longer = max(shorter, room - shorter)
        if shorter + longer > room:
            shorter, longer = room // 2, room - room // 2
        sizes = (longer, shorter) if len(left) > len(right) else (shorter, longer)
        return _cut_ids(left, sizes[0], side), _cut_ids(right, sizes[1], side)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before truncation, special tokens included; raises as :meth:`encode` does."""
        counts = [self._special] * len(texts)
        pieces = ((index, piece) for index, text in enumerate(texts) for piece in self._cutter.pieces(text))
        for window in windows(pieces, self._window):
            for (index, _), encoding in zip(window, self._encode(window, special=False), strict=True):
                counts[index] += len(encoding)
        return counts

    def readings(self, texts: Sequence[str], *, prompt: str = "", side: Side | None = None) -> list[Reading]:
        """How much of each text a model reads that gets it by :meth:`encode` with the same options and errors."""
        side = side or self._facts.truncation_side
        readings = []
        for text, tokens in zip(texts, self.count([prompt + text for text in texts]), strict=True):
            start, end = (0, len(text)) if tokens <= self.max_tokens else self._span(prompt, text, side)
            readings.append(Reading(tokens, start, end))
        return readings

    def _span(self, prompt: str, text: str, side: Side) -> tuple[int, int]:
        """Where the tokens that are kept of a text begin and end in it."""
        whole = prompt + text
        part = self._kept(whole, 0, side)
        offsets = native(lambda: self._tokenizer.encode(part, add_special_tokens=False)).offsets
        room = self.max_tokens - self._special
        if side == "right":
            end = offsets[room - 1][1] if room else 0
            return 0, max(0, end - len(prompt))
        start = offsets[-room][0] if room else len(part)
        return max(0, len(whole) - len(part) + start - len(prompt)), len(text)

    def tokens(self, text: str, *, special: bool) -> list[Token]:
        """All tokens of ``text``, however many; ``special`` adds the special ones."""
        encoding = native(lambda: self._tokenizer.encode(text, add_special_tokens=special))
        parts = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
        return [
            Token(number, name, True, None, None) if added else Token(number, text[start:end], False, start, end)
            for number, name, added, (start, end) in parts
        ]

    def _truncate(self, ids: list[int], side: Side) -> list[int]:
        before, behind = len(self._facts.before), len(ids) - len(self._facts.after)
        return [*ids[:before], *_cut_ids(ids[before:behind], self.max_tokens - self._special, side), *ids[behind:]]

    def _encode(self, texts: Sequence[tuple[int, str]], *, special: bool, list_name: str = "texts") -> list[Encoding]:
        """Of texts with their numbers in the list that messages call ``list_name``."""
        try:
            return native(lambda: self._encode_now([text for _, text in texts], special))
        except TypeError:
            for index, text in texts:
                check_surrogates(f"{list_name}[{index}]", text)
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

    def _kept(self, text: str, index: int, side: Side, list_name: str = "texts") -> str:
        """The shortest end of a long text, by doubling, that holds more than ``max_tokens`` tokens."""
        for part in self._cutter.ends(text, 32 * self.max_tokens, side):
            (encoding,) = self._encode([(index, part)], special=True, list_name=list_name)
            if len(encoding) > self.max_tokens:
                return part
        return text


def _cut_ids(ids: list[int], size: int, side: Side) -> list[int]:
    """``ids`` without what is too much at one end."""
    return ids[:size] if side == "right" else ids[max(0, len(ids) - size) :]
