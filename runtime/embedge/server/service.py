"""What all dialects do: texts or token ids to vectors, pairs to scores, within the limits."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy.typing as npt

from embedge.embedder import Embedder
from embedge.errors import InputError
from embedge.loaded import LoadedModel
from embedge.reranker import Reranker
from embedge.server.dialect import Refused
from embedge.server.metrics import Metrics
from embedge.server.models import Models, Served
from embedge.server.queue import Queue
from embedge.server.settings import Settings
from embedge.tokenizer import Encoded
from embedge.vectors import FloatArray, check_form, encode

# Fewer characters are tokenized sooner than another thread is woken.
_INLINE_CHARS = 4000


class Embedded(NamedTuple):
    """Vectors of some texts, shape ``(n, dimensions)``."""

    vectors: npt.NDArray[Any]
    tokens: list[int]
    """Of each text as it was run."""
    headers: dict[str, str]
    """Which vectors these are, and how many texts were cut."""


class Scored(NamedTuple):
    """Scores of some pairs, shape ``(n,)``; the rest as in :class:`Embedded`."""

    scores: FloatArray
    tokens: list[int]
    headers: dict[str, str]


class Service:
    """The models, the queue and the limits of one server."""

    def __init__(self, models: Sequence[LoadedModel], settings: Settings) -> None:
        """Errors are those of :class:`Models`."""
        self.models = Models(models)
        self.settings = settings
        self.metrics = Metrics()
        self.metrics.watch_models((served.name, served.model.variant, served.fingerprint) for served in self.models)
        self.queue = Queue(max_tokens=settings.max_queued_tokens, max_wait_s=settings.max_wait_s, metrics=self.metrics)
        self._under_way = 0
        self.body_bytes = 0
        """How much of the bodies of requests is held that are still being read."""
        self.stopping = False
        """Whether the server takes no more connections."""

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
        texts: Sequence[str],
        *,
        field: str,
        prompt: str = "",
        truncate: bool = True,
        dimensions: int | None = None,
    ) -> Embedded:
        """Vectors of ``texts``, each with the ``prompt`` in front of it.

        ``field`` is what the dialect calls the texts. Without ``truncate`` a text that is too long is refused.

        Raises:
            Refused: a text or the number of texts is beyond a limit, or ``dimensions`` is.
        """
        self._check_count(texts, field)
        chars = sum(map(len, texts))
        tokenizer = served.model.tokenizer
        encoded = await self._tokenize(chars, lambda: tokenizer.encode(texts, prompt=prompt), field)
        return await self._embed(served, encoded, field, truncate, dimensions)

    async def embed_ids(
        self,
        served: Served[Embedder],
        ids: Sequence[Sequence[int]],
        *,
        field: str,
        truncate: bool = True,
        dimensions: int | None = None,
    ) -> Embedded:
        """Vectors of token ids, which get the special tokens that they lack and no prompt; else as :meth:`embed`."""
        self._check_count(ids, field)
        encoded = await self._tokenize(0, lambda: served.model.tokenizer.complete(ids), field)
        return await self._embed(served, encoded, field, truncate, dimensions)

    async def _embed(
        self, served: Served[Embedder], encoded: Encoded, field: str, truncate: bool, dimensions: int | None
    ) -> Embedded:
        model = served.model
        try:
            size = check_form(dimensions, "float32", model.dimensions)
        except ValueError as exc:
            raise Refused("invalid", str(exc), field="dimensions") from exc
        self._check_lengths(encoded, model, field, truncate)
        rows = await self.queue.run(model.engine, encoded.ids)
        manifest = model.manifest
        vectors = encode(rows, size, "float32", normalized=manifest.normalized, int8_range=manifest.int8_range)
        return Embedded(vectors, [len(ids) for ids in encoded.ids], self._headers(served, encoded))

    async def score(
        self, served: Served[Reranker], pairs: Sequence[tuple[str, str]], *, field: str, truncate: bool = True
    ) -> Scored:
        """Scores of pairs of a query and a text; errors as in :meth:`embed`."""
        self._check_count(pairs, field)
        chars = sum(len(query) + len(text) for query, text in pairs)
        encoded = await self._tokenize(chars, lambda: served.model.tokenizer.encode_pairs(pairs), field)
        self._check_lengths(encoded, served.model, field, truncate)
        rows = await self.queue.run(served.model.engine, encoded.ids)
        return Scored(rows[:, 0], [len(ids) for ids in encoded.ids], self._headers(served, encoded))

    async def _tokenize(self, chars: int, encode: Callable[[], Encoded], field: str) -> Encoded:
        began = time.perf_counter()
        try:
            encoded = encode() if chars <= _INLINE_CHARS else await asyncio.to_thread(encode)
        except InputError as exc:
            raise Refused("invalid", str(exc), field=field) from exc
        self.metrics.tokenization_time.observe(time.perf_counter() - began)
        self.metrics.truncated.inc(len(encoded.truncated))
        return encoded

    def _check_count(self, items: Sequence[object], field: str) -> None:
        most = self.settings.max_texts
        if not items:
            raise Refused("invalid", f"{field} is empty: send at least one text", field=field)
        if len(items) > most:
            raise Refused("too_large", f"{field} has {len(items)} texts, and one request may have {most}", field=field)

    def _check_lengths(self, encoded: Encoded, model: LoadedModel, field: str, truncate: bool) -> None:
        if encoded.truncated and not truncate:
            raise Refused(
                "invalid",
                f"{field}[{encoded.truncated[0]}] has more than the model's {model.max_tokens} tokens: "
                "shorten it, or let it be truncated",
                field=field,
            )
        most = self.settings.max_text_tokens
        for index, ids in enumerate(encoded.ids):
            if most is not None and len(ids) > most:
                raise Refused(
                    "too_large", f"{field}[{index}] has {len(ids)} tokens, and {most} may be run", field=field
                )

    def _headers(self, served: Served[Embedder] | Served[Reranker], encoded: Encoded) -> dict[str, str]:
        headers = {
            "x-embedge-model": served.name,
            "x-embedge-fingerprint": served.fingerprint,
            "x-embedge-texts": str(len(encoded.ids)),
            "x-embedge-tokens": str(sum(map(len, encoded.ids))),
        }
        if encoded.truncated:
            headers["x-embedge-truncated"] = str(len(encoded.truncated))
        return headers
