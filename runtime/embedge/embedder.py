"""The public class: a bundle, its tokenizer, its model and the threads, put together."""

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedge import engine
from embedge.bundle import Bundle
from embedge.engine import Engine
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import Choice, choose
from embedge.engine.cpus import cpu_budget
from embedge.engine.ort import CPU
from embedge.errors import BundleError, InputError
from embedge.manifest import TOKENIZER, Manifest
from embedge.progress import Progress
from embedge.tokenizer import Tokenizer
from embedge.vectors import Dtype, FloatArray, check_form, encode

# Texts taken at a time: enough to find equal lengths among them, few enough that memory stays constant (a token takes
# 180 bytes while the tokenizer has it) and that a progress line moves.
_WINDOW = 1024

# More than machines have; ten times as many would bring one to a halt.
_MOST_THREADS = 1024

Overflow = Literal["truncate", "error"]


class Embedder:
    """Texts in, vectors out. Made by :meth:`load`; any number of threads may use one at once.

    So may forked children on the CPU. CUDA can't be used in a child whose parent has used it: load in each process.

    On the CPU, with every variant but fp16, the vector of a text does not depend on what it is embedded with: the same
    bits alone, in any batch, in any order and on any number of threads. Elsewhere the batch may change the last ones.
    """

    def __init__(self, bundle: Bundle, choice: Choice, tokenizer: Tokenizer, engine: Engine, threads: int) -> None:
        """Put finished parts together; :meth:`load` makes them from a bundle's path."""
        self._bundle = bundle
        self._choice = choice
        self._tokenizer = tokenizer
        self._engine = engine
        self.threads = threads

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        variant: str = "auto",
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> "Embedder":
        """Load the bundle at ``path``. Nothing is fetched, and nothing is written outside the bundle.

        Args:
            path: a directory that ``embedge export`` wrote.
            variant: ``"int8"``, ``"fp32"``, ``"fp16"``, or ``"auto"``: on the CPU for int8, else fp32; on CUDA for
                fp16, else fp32 (see :func:`embedge.engine.choose.choose`).
            threads: how many to use; ``None`` for all CPUs that this process may really use (see
                :mod:`embedge.engine.cpus`).
            providers: ONNX Runtime's execution providers, such as ``["cuda"]``: ``cpu``, ``cuda``, ``tensorrt``,
                ``coreml``, ``directml``, ``openvino``, or ONNX Runtime's own names; ``None`` for the CPU. Nodes of the
                model that run on the CPU although it is not among them are told of in a ``UserWarning``.

        Raises:
            BundleError: the bundle can't be opened, or its bytes are not the sealed ones (``BundleCorrupt``).
            ProviderError: a provider that can't be had here, with the reason, or that takes none of the model's nodes;
                a variant that it can't run.
        """
        if threads is not None and not (type(threads) is int and 1 <= threads <= _MOST_THREADS):
            raise ValueError(f"threads={threads!r}: give 1 to {_MOST_THREADS}, or None for all CPUs it may use")
        bundle = Bundle.open(path)
        resolved = _resolve(providers)
        choice = choose(bundle.manifest.variants, variant, resolved[0], capabilities())
        bundle.ensure_sealed(choice.variant)
        model = start(bundle, choice, threads=threads or cpu_budget().threads, providers=resolved)
        if model._engine.fallback:
            warnings.warn(model._engine.fallback, stacklevel=2)
        return model

    @property
    def variant(self) -> str:
        """The name of the variant that runs."""
        return self._choice.variant

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self._bundle.manifest

    def embed(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        dimensions: int | None = None,
        dtype: Dtype = "float32",
        on_overflow: Overflow = "truncate",
        progress: bool = False,
    ) -> npt.NDArray[Any]:
        """Vectors of documents. Shape: ``(len(texts), dimensions)``, also for no text and for one.

        Args:
            texts: a list of texts. Empty and white ones give the vector of the empty sequence.
            prompt: put in front of each text; ``None`` for the model's document prompt, often empty.
            dimensions: keep the first ones only, normalised again where the model's are; ``None`` for all.
            dtype: ``"float32"``, ``"float16"``, ``"int8"`` or ``"binary"`` (see :func:`embedge.vectors.encode`).
            on_overflow: what to do with texts of more than ``manifest.max_tokens`` tokens: ``"truncate"`` them, with
                one warning that says how many, or raise an ``"error"``.
            progress: show a line on standard error while it runs.

        Raises:
            InputError: not a list, a member that is not a ``str``, half of a surrogate pair, or a text too long with
                ``on_overflow="error"``; the message names its index.
            TypeError: one ``str`` instead of a list.
        """
        _check_texts(texts)
        self._check_options(dimensions, dtype, on_overflow, prompt)
        prompt = self.manifest.prompt("document") if prompt is None else prompt
        # One call, however many windows: close() waits for all of it.
        vectors, truncated = self._engine.calls.run(
            lambda: self._embed_windows(texts, prompt, on_overflow, progress=progress)
        )
        self._warn_truncated(truncated)
        return self._encode(vectors, dimensions, dtype)

    def embed_query(
        self,
        text: str,
        *,
        dimensions: int | None = None,
        dtype: Dtype = "float32",
        on_overflow: Overflow = "truncate",
    ) -> npt.NDArray[Any]:
        """The vector of a query, with the model's query prompt in front of it. Shape: ``(dimensions,)``.

        Options and errors are those of :meth:`embed`.
        """
        if not isinstance(text, str):
            raise InputError(f"a query is a str, not {type(text).__name__}; embed() takes a list of texts")
        self._check_options(dimensions, dtype, on_overflow)
        vectors, truncated = self._embed([text], self.manifest.prompt("query"), on_overflow, first=0)
        self._warn_truncated(truncated)
        row: npt.NDArray[Any] = self._encode(vectors, dimensions, dtype)[0]
        return row

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
        errors are those of :meth:`embed`, and the vectors are the same bits; the warning about truncated texts comes at
        the end.
        """
        if isinstance(texts, str):
            raise TypeError("embed_iter takes an iterable of texts, not one str: pass [text]")
        self._check_options(dimensions, dtype, on_overflow, prompt)
        prompt = self.manifest.prompt("document") if prompt is None else prompt
        return self._iterate(texts, prompt, dimensions, dtype, on_overflow)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before any truncation, special tokens included; ``InputError`` as in :meth:`embed`.

        No prompt is added. Compare with ``manifest.max_tokens``.
        """
        _check_texts(texts)
        return self._tokenizer.count(texts)

    def close(self) -> None:
        """Wait for the calls under way, then give back the memory and the threads; later calls raise `EmbedgeError`.

        A list is one call, whatever its length. In a signal handler, the call that it interrupts is not waited for: it
        goes on afterwards. Sessions map the bundle's files until then, so overwrite these only after it, or better,
        put a new directory in their place.
        """
        self._engine.calls.close()

    def __enter__(self) -> "Embedder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _embed_windows(
        self, texts: Sequence[str], prompt: str, on_overflow: Overflow, *, progress: bool
    ) -> tuple[FloatArray, int]:
        """What :meth:`_embed` gives, for any number of texts."""
        vectors = np.empty((len(texts), self.manifest.dimensions), np.float32)
        truncated = 0
        with Progress(len(texts), shown=progress) as line:
            for start in range(0, len(texts), _WINDOW):
                part = texts[start : start + _WINDOW]
                vectors[start : start + _WINDOW], cut = self._embed(part, prompt, on_overflow, first=start)
                truncated += cut
                line.advance(len(part))
        return vectors, truncated

    def _embed(self, texts: Sequence[str], prompt: str, on_overflow: Overflow, *, first: int) -> tuple[FloatArray, int]:
        """Vectors of ``texts``, the first of which is number ``first`` of its call, and how many were truncated."""
        if prompt:
            texts = [prompt + text if isinstance(text, str) else text for text in texts]
        encoded = self._tokenizer.encode(texts, first=first)
        if encoded.truncated and on_overflow == "error":
            index = encoded.truncated[0]
            raise InputError(
                f"texts[{first + index}] has {self._tokenizer.count([texts[index]])[0]} tokens, "
                f"the model takes {self.manifest.max_tokens}; shorten it, or pass on_overflow='truncate'"
            )
        return self._engine.run(encoded.ids), len(encoded.truncated)

    def _iterate(
        self, texts: Iterable[str], prompt: str, dimensions: int | None, dtype: Dtype, on_overflow: Overflow
    ) -> Iterator[npt.NDArray[Any]]:
        source, done, truncated = iter(texts), 0, 0
        while part := list(itertools.islice(source, _WINDOW)):
            vectors, cut = self._embed(part, prompt, on_overflow, first=done)
            truncated += cut
            done += len(part)
            yield from self._encode(vectors, dimensions, dtype)
        self._warn_truncated(truncated)

    def _encode(self, vectors: FloatArray, dimensions: int | None, dtype: Dtype) -> npt.NDArray[Any]:
        manifest = self.manifest
        return encode(vectors, dimensions, dtype, normalized=manifest.normalized, int8_range=manifest.int8_range)

    def _check_options(self, dimensions: int | None, dtype: str, on_overflow: str, prompt: str | None = None) -> None:
        if prompt is not None and not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, not str")
        check_form(dimensions, dtype, self.manifest.dimensions)
        if on_overflow not in ("truncate", "error"):
            raise ValueError(f"on_overflow={on_overflow!r}: choose 'truncate' or 'error'")

    def _warn_truncated(self, count: int) -> None:
        if count:
            texts = "1 text was" if count == 1 else f"{count} texts were"
            warnings.warn(
                f"{texts} truncated to the model's {self.manifest.max_tokens} tokens; "
                "split long texts, or pass on_overflow='error' to find them",
                stacklevel=3,
            )


def start(bundle: Bundle, choice: Choice, *, threads: int, providers: Sequence[str] = (CPU,)) -> Embedder:
    """The embedder of an opened bundle, whose bytes are taken as they are; ``providers`` have ONNX Runtime's names.

    Errors as in :meth:`Embedder.load`.
    """
    manifest = bundle.manifest
    if manifest.task != "embed":
        raise BundleError(f"{bundle.path} is made for the task {manifest.task!r}, not to embed texts")
    tokenizer = Tokenizer(bundle.file(TOKENIZER), manifest.max_tokens, manifest.tokenizer, parallel=threads > 1)
    parts = engine.load(bundle, choice, threads=threads, providers=providers)
    return Embedder(bundle, choice, tokenizer, parts, threads)


def _resolve(providers: Sequence[str] | None) -> list[str]:
    if providers is None:
        return [CPU]
    from embedge.engine.providers import resolve  # not needed at a start on the CPU

    return resolve(providers)


def _check_texts(texts: object) -> None:
    if isinstance(texts, str):
        raise TypeError("a list of texts is needed, not one str: pass [text], or use embed_query for a query")
    if not isinstance(texts, list | tuple):
        raise InputError(f"texts is {type(texts).__name__}, not a list of str: pass list(texts), or use embed_iter")
