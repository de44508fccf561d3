"""What all dialects do: texts or token ids to vectors, pairs to scores, within the limits."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple, TypeAlias, TypedDict

from embedge.embedder import Embedder
from embedge.errors import InputError
from embedge.loaded import LoadedModel
from embedge.pieces import Side
from embedge.requests import Refused, check_count, split_input
from embedge.reranker import Reranker
from embedge.server.metrics import Metrics
from embedge.server.models import Models, Served
from embedge.server.queue import Queue
from embedge.server.settings import Settings
from embedge.server.threads import Threads
from embedge.tokenizer import Encoded, Reading, Token
from embedge.vectors import FloatArray, check_form, encode
from embedge.vectors import normalize as normalize_rows

# What requests call texts: one, several, or token ids instead.
Input: TypeAlias = str | list[str | int | list[int]]


class Detail(TypedDict):
    """How much of a text its vector reads: the characters from ``start`` to ``end``, as Unicode code points."""

    tokens: int
    """Of the whole text with its prompt and special tokens, before any truncation."""
    start: int
    end: int


class Embedded(NamedTuple):
    """Vectors of some texts, shape ``(n, dimensions)``."""

    vectors: FloatArray
    tokens: list[int]
    """Of each text as it was run."""
    headers: dict[str, str]
    """Which vectors these are, and how many texts were cut."""
    details: list[Detail] | None
    """Of each text, where they were asked for."""


class Scored(NamedTuple):
    """Scores of some pairs, shape ``(n,)``; the rest as in :class:`Embedded`."""

    scores: FloatArray
    tokens: list[int]
    headers: dict[str, str]


class Tokenized(NamedTuple):
    """All tokens of some texts; the headers as in :class:`Embedded`."""

    tokens: list[list[Token]]
    headers: dict[str, str]


class Service:
    """The models, the queue and the limits of one server."""

    def __init__(self, models: Sequence[LoadedModel], settings: Settings) -> None:
        """Errors are those of :class:`Models`."""
        self.models = Models(models)
        self.settings = settings
        self.metrics = Metrics()
        self.metrics.watch_models(
            (served.name, served.model.variant, served.fingerprint, served.model.kernels or "")
            for served in self.models
        )
        self.queue = Queue(max_tokens=settings.max_queued_tokens, max_wait_s=settings.max_wait_s, metrics=self.metrics)
        self.threads = Threads(max_wait_s=settings.max_wait_s, overloaded=self.queue.overloaded)
        self._under_way = 0
        self._body_bytes = 0
        self.stopping = False
        """Whether the server takes no more connections."""

    def close(self) -> None:
        """Refuse what waits and what comes."""
        self.queue.close()
        self.threads.close()

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Gives what counts the bytes of a request's body, and refuses those that are too many with all others'.

        They count until the request has its answer: what is made of them takes as much memory.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._body_bytes += size
            if self._body_bytes > self.settings.max_buffered_bytes:
                raise self.queue.overloaded(
                    f"the bodies of requests under way have {self.settings.max_buffered_bytes} bytes; no more may"
                )

        try:
            yield hold
        finally:
            self._body_bytes -= held

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request as under way; ``Refused`` when there are as many as may be."""
        if self._under_way >= self.settings.max_requests:
            raise self.queue.overloaded(f"{self._under_way} requests are under way; no more may be")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def embed(
        self,
        served: Served[Embedder],
        value: str | Sequence[str | int | list[int]],
        *,
        field: str,
        prompt: str = "",
        truncate: bool = True,
        side: Side | None = None,
        dimensions: int | None = None,
        normalize: bool = False,
        details: bool = False,
    ) -> Embedded:
        """Vectors of texts, each with the ``prompt`` in front of it, or of token ids, which get no prompt.

        ``field`` is what the dialect calls ``value``. Token ids get the special tokens that they lack. Without
        ``truncate`` a text that is too long is refused; ``side`` is the end that it loses otherwise. ``normalize``
        gives the vectors of every model length 1.

        Raises:
            Refused: a text or the number of texts is beyond a limit, or ``dimensions`` is; texts beside token ids;
                ``details`` of token ids.
        """
        texts, ids = split_input(value, field)
        check_count(texts or ids, self.settings.max_texts, field)
        model, tokenizer = served.model, served.model.tokenizer
        try:
            size = check_form(dimensions, "float32", model.dimensions)
        except ValueError as exc:
            raise Refused("invalid", str(exc), field="dimensions") from exc
        if ids and details:
            raise Refused("invalid", "token ids have no details: send texts", field="details")
        chars = sum(len(prompt) + len(text) for text in texts)
        readings: list[Reading] = []
        if ids:
            encoded = await self._tokenize(sum(map(len, ids)), lambda: tokenizer.complete(ids, side=side), field)
        else:
            encoded = await self._tokenize(chars, lambda: tokenizer.encode(texts, prompt=prompt, side=side), field)
        self._check_lengths(encoded, model, field, truncate)
        if details:
            readings = await self.threads.run(chars, lambda: tokenizer.readings(texts, prompt=prompt, side=side))
        rows = await self.queue.run(model.engine, encoded.ids)
        self.metrics.truncated.inc(len(encoded.truncated))
        manifest = model.manifest
        vectors = encode(rows, size, "float32", normalized=manifest.normalized, int8_range=manifest.int8_range)
        if normalize and not manifest.normalized:
            vectors = normalize_rows(vectors)
        found = [Detail(tokens=tokens, start=start, end=end) for tokens, start, end in readings]
        tokens = [len(one) for one in encoded.ids]
        headers = self._headers(served, tokens, len(encoded.truncated))
        return Embedded(vectors, tokens, headers, found if details else None)

    async def score(
        self,
        served: Served[Reranker],
        query: str,
        texts: Sequence[str],
        *,
        field: str,
        truncate: bool = True,
        side: Side | None = None,
        max_text_tokens: int | None = None,
    ) -> Scored:
        """How well each of ``texts`` answers ``query``, as the library says it; errors as in :meth:`embed`.

        A text loses what it has beyond ``max_text_tokens``.
        """
        check_count(texts, self.settings.max_texts, field)
        pairs = [(query, text) for text in texts]
        chars = sum(len(query) + len(text) for text in texts)
        tokenizer = served.model.tokenizer
        encoded = await self._tokenize(
            chars, lambda: tokenizer.encode_pairs(pairs, side=side, max_second=max_text_tokens), field
        )
        self._check_lengths(encoded, served.model, field, truncate, more=", with the query")
        rows = await self.queue.run(served.model.engine, encoded.ids)
        self.metrics.truncated.inc(len(encoded.truncated))
        tokens = [len(ids) for ids in encoded.ids]
        return Scored(rows[:, 0], tokens, self._headers(served, tokens, len(encoded.truncated)))

    @asynccontextmanager
    async def tokens(
        self, served: Served[LoadedModel], texts: Sequence[str], *, field: str, special: bool
    ) -> AsyncIterator[Tokenized]:
        """All tokens of each text, before any truncation; errors as in :meth:`embed`.

        Until the end of the context they count as those that wait to be run, since they take more memory.
        """
        check_count(texts, self.settings.max_texts, field)
        tokenizer, chars = served.model.tokenizer, sum(map(len, texts))
        total = sum(await self.threads.run(chars, lambda: tokenizer.count(texts)))
        with self.queue.reserve(total):
            found = await self.threads.run(chars, lambda: [tokenizer.tokens(text, special=special) for text in texts])
            yield Tokenized(found, self._headers(served, [len(tokens) for tokens in found], 0))

    async def _tokenize(self, chars: int, encode: Callable[[], Encoded], field: str) -> Encoded:
        def timed() -> tuple[Encoded, float]:
            began = time.perf_counter()
            return encode(), time.perf_counter() - began

        try:
            encoded, seconds = await self.threads.run(chars, timed)
        except InputError as exc:
            # The library calls them texts.
            raise Refused("invalid", str(exc).replace("texts[", f"{field}[", 1), field=field) from exc
        self.metrics.tokenization_time.observe(seconds)
        return encoded

    def _check_lengths(self, encoded: Encoded, model: LoadedModel, field: str, truncate: bool, more: str = "") -> None:
        if encoded.truncated and not truncate:
            raise Refused(
                "too_long",
                f"{field}[{encoded.truncated[0]}] has more than the model's {model.max_tokens} tokens{more}: "
                "shorten it, or let it be truncated",
                field=field,
            )
        most = self.settings.max_text_tokens
        for index, ids in enumerate(encoded.ids):
            if most is not None and len(ids) > most:
                raise Refused(
                    "too_large", f"{field}[{index}] has {len(ids)} tokens, and {most} may be run", field=field
                )

    def _headers(self, served: Served[LoadedModel], tokens: Sequence[int], truncated: int) -> dict[str, str]:
        return {
            "x-embedge-model": served.header,
            "x-embedge-fingerprint": served.fingerprint,
            "x-embedge-texts": str(len(tokens)),
            "x-embedge-tokens": str(sum(tokens)),
            "x-embedge-truncated": str(truncated),
        }
