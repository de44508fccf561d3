"""The public class: a bundle, its tokenizer, its model and the threads, put together."""

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload

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
from embedge.inputs import plain_texts, whole_number
from embedge.manifest import TOKENIZER, Manifest
from embedge.progress import Progress
from embedge.tokenizer import Tokenizer
from embedge.vectors import Dtype, FloatArray, check_form, encode, similarity

# Texts taken at a time: enough to find equal lengths among them, few enough that memory stays constant and that a
# progress line moves.
_WINDOW = 1024

# More than machines have; ten times as many would bring one to a halt.
_MOST_THREADS = 1024

Overflow = Literal["truncate", "error"]
OnProgress = Callable[[int, int], None]


class Embedder:
    """Texts in, vectors out. Made by :meth:`load`; any number of threads may use one at once.

    So may forked children on the CPU. CUDA can't be used in a child whose parent has used it: load in each process.

    On the CPU, with every variant but fp16, the vector of a text does not depend on what it is embedded with: the same
    bits alone, in any batch, in any order and on any number of threads. Elsewhere the batch may change the last ones.

    Pickling one keeps its bundle's path, variant, number of threads and providers, and unpickling loads it again; so
    do :func:`copy.copy` and :func:`copy.deepcopy`. Each copy has to be closed by itself.
    """

    def __init__(
        self,
        bundle: Bundle,
        choice: Choice,
        tokenizer: Tokenizer,
        engine: Engine,
        threads: int,
        asked: tuple[int | None, Sequence[str]],
    ) -> None:
        """Put finished parts together; :meth:`load` makes them from a bundle's path.

        ``asked`` are the threads and the providers to load it with again.
        """
        self._bundle = bundle
        self._path = bundle.path.absolute()  # the working directory may change
        self._choice = choice
        self._tokenizer = tokenizer
        self._engine = engine
        self._asked = asked
        self.threads = threads
        """How many threads a call may use."""

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        variant: str = "auto",
        threads: int | None = None,
        providers: str | Sequence[str] | None = None,
    ) -> "Embedder":
        """Load the bundle at ``path``. Nothing is fetched, and nothing is written outside the bundle.

        Args:
            path: a directory that ``embedge export`` wrote, or the name of a bundle in the store.
            variant: ``"int8"``, ``"fp32"``, ``"fp16"``, or ``"auto"``: on the CPU for int8, else fp32; on CUDA for
                fp16, else fp32 (see :func:`embedge.engine.choose.choose`).
            threads: how many to use; ``None`` for all CPUs that this process may really use (see
                :mod:`embedge.engine.cpus`).
            providers: ONNX Runtime's execution providers, such as ``"cuda"`` or ``["cuda", "cpu"]``: ``cpu``,
                ``cuda``, ``tensorrt``, ``coreml``, ``directml``, ``openvino``, or ONNX Runtime's own names; ``None``
                for the CPU. Nodes of the model that run on the CPU although it is not among them are reported in a
                ``UserWarning``.

        Raises:
            BundleError: the bundle can't be opened, or its bytes are not the sealed ones (``BundleCorrupt``).
            ProviderError: a provider that is unavailable here, with the reason, or that takes none of the model's
                nodes; a variant that it can't run.
            TypeError: an argument of the wrong type.
            ValueError: ``threads`` out of range.
        """
        if threads is not None:
            threads = whole_number("threads", threads)
            if not 1 <= threads <= _MOST_THREADS:
                raise ValueError(f"threads={threads}: give 1 to {_MOST_THREADS}, or None for all CPUs it may use")
        if not isinstance(variant, str):
            raise TypeError(f"variant is {type(variant).__name__}, not str")
        bundle = Bundle.open(path)
        resolved = resolve_providers(providers)
        choice = choose(bundle.manifest.variants, variant, resolved[0], capabilities())
        bundle.ensure_sealed(choice.variant)
        model = start(bundle, choice, threads=threads, providers=resolved)
        if model._engine.fallback:
            warnings.warn(model._engine.fallback, stacklevel=2)
        return model

    @property
    def path(self) -> Path:
        """The bundle's directory, as an absolute path."""
        return self._path

    @property
    def variant(self) -> str:
        """The name of the variant that runs."""
        return self._choice.variant

    @property
    def dimensions(self) -> int:
        """How many numbers a whole vector has."""
        return self.manifest.dimensions

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens, special tokens and prompt included (other libraries' ``max_seq_length``)."""
        return self.manifest.max_tokens

    @property
    def prompts(self) -> dict[str, str]:
        """The model's prompts by their names; a copy."""
        return dict(self.manifest.prompts)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self._bundle.manifest

    def __repr__(self) -> str:
        return (
            f"Embedder({os.fspath(self._bundle.path)!r}, variant={self.variant!r}, dimensions={self.dimensions}, "
            f"max_tokens={self.max_tokens}, threads={self.threads})"
        )

    def __reduce__(self) -> tuple[Callable[..., "Embedder"], tuple[object, ...]]:
        return _load_again, (self.path, self.variant, *self._asked)

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
            TypeError: one ``str`` instead of a list, a dictionary, a set; an option of the wrong type.
            ValueError: an option outside its choices.
        """
        members = plain_texts(texts)
        size = self._check_options(dimensions, dtype, on_overflow, prompt, progress)
        vectors, truncated = self._embed_all(list(members), self._document_prompt(prompt), on_overflow, progress)
        self._warn_truncated(truncated)
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
        vectors, truncated = self._embed_all(list(members), self.manifest.prompt("query"), on_overflow, progress)
        self._warn_truncated(truncated)
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
        vectors, truncated = self._embed([str.__str__(text)], self.manifest.prompt("query"), on_overflow, first=0)
        self._warn_truncated(truncated)
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
        text is reported when its turn comes, and the warning about truncated texts comes at the end.
        """
        members = plain_texts(texts)
        size = self._check_options(dimensions, dtype, on_overflow, prompt)
        return self._iterate(members, self._document_prompt(prompt), size, dtype, on_overflow)

    def count_tokens(self, texts: Iterable[str]) -> list[int]:
        """Tokens of each text before any truncation, special tokens included; errors as in :meth:`embed`.

        No prompt is added. Compare with :attr:`max_tokens`.
        """
        return self._tokenizer.count(list(plain_texts(texts)))

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
        """How alike vectors of this model are, by its own measure; larger is more alike.

        Shape: ``(n, width)``, ``(m, width)`` -> ``(n, m)``. Binary vectors are compared by their cosine. Otherwise as
        :func:`embedge.similarity`.
        """
        binary = np.asarray(a).dtype == np.uint8
        return similarity(a, b, measure="cosine" if binary else self.manifest.similarity)

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

    def _embed_all(
        self, texts: Sequence[str], prompt: str, on_overflow: Overflow, progress: bool | OnProgress
    ) -> tuple[FloatArray, int]:
        """Vectors of ``texts``, and how many were truncated."""
        # One call, however many windows: close() waits for all of it.
        return self._engine.calls.run(lambda: self._embed_windows(texts, prompt, on_overflow, progress))

    def _embed_windows(
        self, texts: Sequence[str], prompt: str, on_overflow: Overflow, progress: bool | OnProgress
    ) -> tuple[FloatArray, int]:
        """See :meth:`_embed_all`."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        truncated = 0
        with Progress(len(texts), shown=progress is True) as line:
            for first in range(0, len(texts), _WINDOW):
                part = texts[first : first + _WINDOW]
                vectors[first : first + _WINDOW], cut = self._embed(part, prompt, on_overflow, first=first)
                truncated += cut
                line.advance(len(part))
                if not isinstance(progress, bool):
                    progress(first + len(part), len(texts))
        return vectors, truncated

    def _embed(self, texts: Sequence[str], prompt: str, on_overflow: Overflow, *, first: int) -> tuple[FloatArray, int]:
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
        done, truncated = 0, 0
        while part := list(itertools.islice(texts, _WINDOW)):
            vectors, cut = self._embed(part, prompt, on_overflow, first=done)
            truncated += cut
            done += len(part)
            yield from self._encode(vectors, dimensions, dtype)
        self._warn_truncated(truncated)

    def _document_prompt(self, prompt: str | None) -> str:
        return self.manifest.prompt("document") if prompt is None else str.__str__(prompt)

    def _encode(self, vectors: FloatArray, dimensions: int, dtype: Dtype) -> npt.NDArray[Any]:
        manifest = self.manifest
        return encode(vectors, dimensions, dtype, normalized=manifest.normalized, int8_range=manifest.int8_range)

    def _check_options(
        self,
        dimensions: int | None,
        dtype: str,
        on_overflow: str,
        prompt: str | None = None,
        progress: bool | OnProgress = False,
    ) -> int:
        """How many dimensions are asked for; raises for an option of the wrong type or outside its choices."""
        if prompt is not None and not isinstance(prompt, str):
            raise TypeError(f"prompt is {type(prompt).__name__}, not str")
        if not isinstance(progress, bool) and not callable(progress):
            raise TypeError(f"progress is {type(progress).__name__}, neither a bool nor a function")
        if on_overflow not in ("truncate", "error"):
            raise ValueError(f"on_overflow={on_overflow!r}: choose 'truncate' or 'error'")
        return check_form(dimensions, dtype, self.dimensions)

    def _warn_truncated(self, count: int) -> None:
        if count:
            texts = "1 text was" if count == 1 else f"{count} texts were"
            warnings.warn(
                f"{texts} truncated to the model's {self.max_tokens} tokens; "
                "split long texts, or pass on_overflow='error' to find them",
                stacklevel=3,
            )


def start(bundle: Bundle, choice: Choice, *, threads: int | None = None, providers: Sequence[str] = (CPU,)) -> Embedder:
    """The embedder of an opened bundle, whose bytes are taken as they are; ``providers`` have ONNX Runtime's names.

    Errors as in :meth:`Embedder.load`.
    """
    manifest = bundle.manifest
    if manifest.task != "embed":
        raise BundleError(f"{bundle.path} is made for the task {manifest.task!r}, not to embed texts")
    count = threads or cpu_budget().threads
    tokenizer = Tokenizer(bundle.file(TOKENIZER), manifest.max_tokens, manifest.tokenizer, parallel=count > 1)
    parts = engine.load(bundle, choice, threads=count, providers=providers)
    return Embedder(bundle, choice, tokenizer, parts, count, (threads, providers))


def resolve_providers(providers: str | Sequence[str] | None) -> list[str]:
    """ONNX Runtime's names for ``providers``, as :meth:`Embedder.load` takes them.

    Raises:
        TypeError: neither a name nor a list of names.
        ProviderError: a provider that is unavailable here.
    """
    if providers is None:
        return [CPU]
    names = [providers] if isinstance(providers, str) else providers
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"providers={providers!r}: give a name or a list of names, without options")
    if list(names) == [CPU]:
        return [CPU]
    from embedge.engine.providers import resolve  # not needed at a start on the CPU

    return resolve(names)


def _load_again(path: Path, variant: str, threads: int | None, providers: Sequence[str]) -> Embedder:
    """What is pickled of an embedder."""
    return Embedder.load(path, variant=variant, threads=threads, providers=providers)
