"""Texts to vectors."""

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from embedge.errors import InputError
from embedge.inputs import check_surrogates, plain_texts
from embedge.loaded import WINDOW, LoadedModel, OnProgress, Overflow
from embedge.vectors import Dtype, FloatArray, check_form, encode, similarity


class Embedder(LoadedModel):
    """Texts in, vectors out. Made by :meth:`load`; any number of threads may use one at once.

    So may forked children on the CPU. CUDA can't be used in a child whose parent has used it: load in each process.

    On the CPU, with every variant but fp16, the vector of a text does not depend on what it is embedded with: the same
    bits alone, in any batch, in any order and on any number of threads. Elsewhere the batch may change the last ones.

    Pickling one keeps its bundle's path, variant, number of threads, providers and ``low_memory``, and unpickling loads
    it again; so do :func:`copy.copy` and :func:`copy.deepcopy`. Each copy has to be closed by itself.
    """

    _TASK = "embed"
    _INSTEAD = "Reranker"

    @property
    def dimensions(self) -> int:
        """How many numbers a whole vector has."""
        return self.manifest.dimensions

    @property
    def prompts(self) -> dict[str, str]:
        """The model's prompts by their names; a copy."""
        return dict(self.manifest.prompts)

    def __repr__(self) -> str:
        return (
            f"Embedder({os.fspath(self._bundle.path)!r}, variant={self.variant!r}, dimensions={self.dimensions}, "
            f"max_tokens={self.max_tokens}, threads={self.threads})"
        )

    @overload
    def embed(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = ...,
        dimensions: int | None = ...,
        dtype: Literal["float32"] = ...,
        on_overflow: Overflow = ...,
        progress: bool | OnProgress = ...,
    ) -> FloatArray: ...
    @overload
    def embed(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = ...,
        dimensions: int | None = ...,
        dtype: Dtype,
        on_overflow: Overflow = ...,
        progress: bool | OnProgress = ...,
    ) -> npt.NDArray[Any]: ...
    def embed(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = None,
        dimensions: int | None = None,
        dtype: Dtype = "float32",
        on_overflow: Overflow = "truncate",
        progress: bool | OnProgress = False,
    ) -> npt.NDArray[Any]:
        """Vectors of documents. Shape: ``(n, dimensions)`` for n texts, also for none and for one.

        There is no ``batch_size``: texts of equal length run together in batches of the size that is fastest, without
        padding, and memory stays constant however long the list.

        ``int8`` vectors overflow silently in NumPy's products: compare them by :func:`embedge.similarity`.

        Args:
            texts: a list, or any iterable of ``str`` in a fixed order: a tuple, a generator, a NumPy array, a column of
                pandas or Arrow. Empty and white texts give the vector of the empty sequence.
            prompt: put in front of each text; ``None`` for the model's document prompt, often empty.
            dimensions: keep the first ones only, normalised again where the model's are; ``None`` for all.
            dtype: ``"float32"``, ``"float16"``, ``"int8"`` or ``"binary"`` (see :func:`embedge.vectors.encode`).
            on_overflow: what to do with texts of more than :attr:`max_tokens` tokens: ``"truncate"`` them, with one
                warning that says how many, or raise an ``"error"``.
            progress: ``True`` shows a line on standard error while it runs; a function is called with the number of
                texts done and the number of all, after at most 1024 texts each time.

        Raises:
            InputError: a member that is not a ``str``, such as a missing value; half of a surrogate pair; a text too
                long with ``on_overflow="error"``. The message names its index.
            TypeError: one ``str`` instead of a list, a dictionary, a set, a table; an option of the wrong type.
            ValueError: an option outside its choices.
        """
        members = plain_texts(texts)
        size = self._check_options(dimensions, dtype, on_overflow, prompt, progress)
        vectors = self._embed_list(list(members), self._document_prompt(prompt), on_overflow, progress)
        return self._encode(vectors, size, dtype)

    @overload
    def embed_queries(
        self,
        texts: Iterable[str],
        *,
        dimensions: int | None = ...,
        dtype: Literal["float32"] = ...,
        on_overflow: Overflow = ...,
        progress: bool | OnProgress = ...,
    ) -> FloatArray: ...
    @overload
    def embed_queries(
        self,
        texts: Iterable[str],
        *,
        dimensions: int | None = ...,
        dtype: Dtype,
        on_overflow: Overflow = ...,
        progress: bool | OnProgress = ...,
    ) -> npt.NDArray[Any]: ...
    def embed_queries(
        self,
        texts: Iterable[str],
        *,
        dimensions: int | None = None,
        dtype: Dtype = "float32",
        on_overflow: Overflow = "truncate",
        progress: bool | OnProgress = False,
    ) -> npt.NDArray[Any]:
        """Vectors of queries, with the model's query prompt in front of each. Shape: ``(n, dimensions)``.

        Options and errors are those of :meth:`embed`.
        """
        members = plain_texts(texts)
        size = self._check_options(dimensions, dtype, on_overflow, progress=progress)
        vectors = self._embed_list(list(members), self.manifest.prompt("query"), on_overflow, progress)
        return self._encode(vectors, size, dtype)

    @overload
    def embed_query(
        self, text: str, *, dimensions: int | None = ..., dtype: Literal["float32"] = ..., on_overflow: Overflow = ...
    ) -> FloatArray: ...
    @overload
    def embed_query(
        self, text: str, *, dimensions: int | None = ..., dtype: Dtype, on_overflow: Overflow = ...
    ) -> npt.NDArray[Any]: ...
    def embed_query(
        self,
        text: str,
        *,
        dimensions: int | None = None,
        dtype: Dtype = "float32",
        on_overflow: Overflow = "truncate",
    ) -> npt.NDArray[Any]:
        """The vector of a query, with the model's query prompt in front of it. Shape: ``(dimensions,)``.

        Options and errors are those of :meth:`embed`; :meth:`embed_queries` takes several.

        Raises:
            TypeError: not one ``str``.
        """
        if not isinstance(text, str):
            raise TypeError(f"a query is one str, not {type(text).__name__}; embed_queries takes a list of them")
        size = self._check_options(dimensions, dtype, on_overflow)
        vectors = self._embed_list([str.__str__(text)], self.manifest.prompt("query"), on_overflow, progress=False)
        row: npt.NDArray[Any] = self._encode(vectors, size, dtype)[0]
        return row

    @overload
    def embed_iter(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = ...,
        dimensions: int | None = ...,
        dtype: Literal["float32"] = ...,
        on_overflow: Overflow = ...,
    ) -> Iterator[FloatArray]: ...
    @overload
    def embed_iter(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = ...,
        dimensions: int | None = ...,
        dtype: Dtype,
        on_overflow: Overflow = ...,
    ) -> Iterator[npt.NDArray[Any]]: ...
    def embed_iter(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = None,
        dimensions: int | None = None,
        dtype: Dtype = "float32",
        on_overflow: Overflow = "truncate",
    ) -> Iterator[npt.NDArray[Any]]:
        """One vector after the other for any iterable of texts, in constant memory. Shape of each: ``(dimensions,)``.

        Texts are taken 1024 at a time, in a call of their own: after :meth:`close` the next one raises. Options and
        errors are those of :meth:`embed`, and the vectors are the same bits. Arguments are checked at the call; a bad
        text is reported before the first vector of its 1024, and the warning about truncated texts comes at the end,
        also of an iterator that is closed earlier.
        """
        members = plain_texts(texts)
        size = self._check_options(dimensions, dtype, on_overflow, prompt)
        return self._iterate(members, self._document_prompt(prompt), size, dtype, on_overflow)

    def count_tokens(self, texts: Iterable[str]) -> list[int]:
        """Tokens of each text before any truncation, special tokens included; errors as in :meth:`embed`.

        No prompt is added. Compare with :attr:`max_tokens`.
        """
        members = list(plain_texts(texts))
        return self._engine.calls.run(lambda: self._tokenizer.count(members))

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
        """How alike vectors of this model are, by its own measure; larger is more alike.

        Shape: ``(n, width)``, ``(m, width)`` -> ``(n, m)``. Binary vectors are compared by their cosine. Otherwise as
        :func:`embedge.similarity`.
        """
        binary = np.asarray(a).dtype == np.uint8
        return similarity(a, b, measure="cosine" if binary else self.manifest.similarity)

    def _embed_list(
        self, texts: Sequence[str], prompt: str, on_overflow: Overflow, progress: bool | OnProgress
    ) -> FloatArray:
        """Whole vectors of ``texts``."""
        run = functools.partial(self._embed, prompt=prompt, on_overflow=on_overflow)
        vectors, truncated = self._run_all(texts, run, progress)
        self._warn_truncated(truncated, "text")
        return vectors

    def _embed(self, texts: Sequence[str], first: int, *, prompt: str, on_overflow: Overflow) -> tuple[FloatArray, int]:
        """Vectors of ``texts``, the first of which is number ``first`` of its call, and how many were truncated."""
        encoded = self._tokenizer.encode(texts, prompt=prompt, first=first)
        if encoded.truncated and on_overflow == "error":
            index = encoded.truncated[0]
            raise InputError(
                f"texts[{first + index}] has {self._tokenizer.count([prompt + texts[index]])[0]} tokens, "
                f"the model takes {self.max_tokens}; shorten it, or pass on_overflow='truncate'"
            )
        return self._engine.run(encoded.ids), len(encoded.truncated)

    def _iterate(
        self, texts: Iterator[str], prompt: str, dimensions: int, dtype: Dtype, on_overflow: Overflow
    ) -> Iterator[npt.NDArray[Any]]:
        truncated = 0
        try:
            for first in itertools.count(0, WINDOW):
                part = list(itertools.islice(texts, WINDOW))
                work = functools.partial(self._embed, part, first, prompt=prompt, on_overflow=on_overflow)
                vectors, cut = self._engine.calls.run(work)
                truncated += cut
                yield from self._encode(vectors, dimensions, dtype)
                if len(part) < WINDOW:
                    return
        finally:
            self._warn_truncated(truncated, "text", stacklevel=3)

    def _document_prompt(self, prompt: str | None) -> str:
        return self.manifest.prompt("document") if prompt is None else str.__str__(prompt)

    def _encode(self, vectors: FloatArray, dimensions: int, dtype: Dtype) -> npt.NDArray[Any]:
        manifest = self.manifest
        return encode(vectors, dimensions, dtype, normalized=manifest.normalized, int8_range=manifest.int8_range)

    def _check_options(
        self,
        dimensions: int | None,
        dtype: object,
        on_overflow: object,
        prompt: str | None = None,
        progress: bool | OnProgress = False,
    ) -> int:
        """How many dimensions are asked for; raises for an option of the wrong type or outside its choices."""
        if prompt is not None and not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, not str")
        if prompt:
            check_surrogates("prompt", prompt)
        self._check_call(on_overflow, progress)
        return check_form(dimensions, dtype, self.dimensions)
