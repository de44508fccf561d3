"""A bundle that is loaded: what an :class:`embedge.Embedder` and an :class:`embedge.Reranker` have in common."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self, TypeVar

import numpy as np

from embedge import engine
from embedge.bundle import Bundle, hash_file
from embedge.engine import Engine
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import Choice, choose
from embedge.engine.cpus import cpu_budget
from embedge.engine.native import kernels
from embedge.engine.ort import CPU
from embedge.errors import BundleCorrupt, BundleError
from embedge.inputs import check_choice, whole_number
from embedge.manifest import TOKENIZER, Manifest
from embedge.progress import Progress
from embedge.stamps import Stamp, stamp
from embedge.tokenizer import Tokenizer
from embedge.vectors import FloatArray

_Item = TypeVar("_Item")

# Texts or pairs taken at a time: enough to find equal lengths among them, few enough that memory stays constant and
# that a progress line moves.
WINDOW = 1024

# More than machines have; ten times as many would bring one to a halt.
_MOST_THREADS = 1024

Overflow = Literal["truncate", "error"]
OnProgress = Callable[[int, int], None]


class LoadedModel:
    """A bundle, its tokenizer, its model and the threads, put together."""

    _TASK: ClassVar[Literal["embed", "rerank"]]
    _INSTEAD: ClassVar[str]

    def __init__(
        self,
        bundle: Bundle,
        choice: Choice,
        tokenizer: Tokenizer,
        engine: Engine,
        threads: int,
        asked: tuple[int | None, Sequence[str], bool],
    ) -> None:
        """Put finished parts together; :meth:`load` makes them from a bundle's path.

        ``asked`` are the threads, the providers and ``low_memory`` to load it with again.
        """
        self._bundle = bundle
        self._path = bundle.path.absolute()  # the working directory may change
        self._choice = choice
        self._tokenizer = tokenizer
        self._engine = engine
        self._asked = asked
        self._threads = threads

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        variant: str = "auto",
        threads: int | None = None,
        providers: str | Sequence[str] | None = None,
        low_memory: bool = False,
    ) -> Self:
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
                ``UserWarning``, and so is a package ``embedge-kernels`` that can't be used (see
                :mod:`embedge.engine.native`).
            low_memory: need less memory, and more time: one thread unless ``threads`` says otherwise, and no weights
                that are kept twice. Vectors have the same bits.

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
        if not isinstance(low_memory, bool):
            raise TypeError(f"low_memory is {type(low_memory).__name__}, not bool")
        bundle = Bundle.open(path)
        resolved = resolve_providers(providers)
        choice = choose(bundle.manifest.variants, variant, resolved[0], capabilities())
        sealed = bundle.ensure_sealed(choice.variant)
        model = cls.start(bundle, choice, threads=threads, providers=resolved, sealed=sealed, low_memory=low_memory)
        if model._engine.fallback:
            warnings.warn(model._engine.fallback, stacklevel=2)
        problem = kernels().problem
        if problem and resolved[0] == CPU and _is_for_kernels(bundle, choice.variant):
            warnings.warn(problem, stacklevel=2)
        return model

    @classmethod
    def start(
        cls,
        bundle: Bundle,
        choice: Choice,
        *,
        threads: int | None = None,
        providers: Sequence[str] = (CPU,),
        sealed: Mapping[str, Stamp] | None = None,
        low_memory: bool = False,
    ) -> Self:
        """As :meth:`load`, of an opened bundle; what tools of this project use.

        ``choice`` says which graph of which variant; ``providers`` have ONNX Runtime's own names. ``sealed`` is what
        :meth:`Bundle.ensure_sealed` returned; without it the bytes are taken as they are.
        """
        manifest = bundle.manifest
        if manifest.task != cls._TASK:
            raise BundleError(f"{bundle.path} is made for the task {manifest.task!r}: load it with {cls._INSTEAD}")
        count = threads or (1 if low_memory else cpu_budget().threads)
        tokenizer = Tokenizer(bundle.file(TOKENIZER), manifest.max_tokens, manifest.tokenizer, parallel=count > 1)
        path = bundle.file(TOKENIZER)
        if sealed and stamp(path) != sealed[TOKENIZER] and hash_file(path) != manifest.files[TOKENIZER].sha256:
            raise BundleCorrupt(f"{path} was replaced while the bundle was loaded; load it again")
        parts = engine.load(bundle, choice, threads=count, providers=providers, sealed=sealed, low_memory=low_memory)
        return cls(bundle, choice, tokenizer, parts, count, (threads, providers, low_memory))

    @property
    def path(self) -> Path:
        """The bundle's directory, as an absolute path."""
        return self._path

    @property
    def threads(self) -> int:
        """How many threads a call may use."""
        return self._threads

    @property
    def providers(self) -> Sequence[str]:
        """ONNX Runtime's names of the providers that it was loaded for."""
        return self._asked[1]

    @property
    def variant(self) -> str:
        """The name of the variant that runs."""
        return self._choice.variant

    @property
    def kernels(self) -> str | None:
        """The version of ``embedge-kernels`` and the instruction set, where that runs; ``None`` where it does not."""
        return kernels().description if "kernels" in self._choice.graph.needs else None

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens, special tokens and prompt included (other libraries' ``max_seq_length``)."""
        return self.manifest.max_tokens

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self._bundle.manifest

    @property
    def tokenizer(self) -> Tokenizer:
        """What makes token ids of texts; for those who run the engine themselves, as the server does."""
        return self._tokenizer

    @property
    def engine(self) -> Engine:
        """What makes rows of token ids; see :attr:`tokenizer`."""
        return self._engine

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        return type(self)._load_again, (self.path, self.variant, *self._asked)

    @classmethod
    def _load_again(
        cls, path: Path, variant: str, threads: int | None, providers: Sequence[str], low_memory: bool = False
    ) -> Self:
        """What is pickled; without ``low_memory`` by releases that did not have it."""
        return cls.load(path, variant=variant, threads=threads, providers=providers, low_memory=low_memory)

    def close(self) -> None:
        """Wait for the calls under way, then give back the memory and the threads; later calls raise `EmbedgeError`.

        A list is one call, whatever its length. Within a call, as in a signal handler that interrupts one or in a
        function for its progress, nothing is waited for: what is under way goes on, and the last call gives all back.
        A signal handler may close, but not embed.

        Sessions map the bundle's files until then, so overwrite these only after it, or better, put a new directory in
        their place. The tokenizer, some MB, stays until the object is gone.
        """
        self._engine.calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_all(
        self,
        items: Sequence[_Item],
        run: Callable[[Sequence[_Item], int], tuple[FloatArray, int]],
        progress: bool | OnProgress,
    ) -> tuple[FloatArray, int]:
        """The rows that ``run`` gives for ``items``, and how many were truncated, as one call that close() waits for.

        ``run`` gets as many items at a time as memory should hold, and the number of the first of them.
        """
        return self._engine.calls.run(lambda: self._run_windows(items, run, progress))

    def _run_windows(
        self,
        items: Sequence[_Item],
        run: Callable[[Sequence[_Item], int], tuple[FloatArray, int]],
        progress: bool | OnProgress,
    ) -> tuple[FloatArray, int]:
        rows = np.empty((len(items), self.manifest.dimensions), np.float32)
        truncated = 0
        with Progress(len(items), shown=progress is True) as line:
            for first in range(0, len(items), WINDOW):
                part = items[first : first + WINDOW]
                rows[first : first + WINDOW], cut = run(part, first)
                truncated += cut
                line.advance(len(part))
                if not isinstance(progress, bool):
                    progress(first + len(part), len(items))
        return rows, truncated

    def _check_call(self, on_overflow: object, progress: object) -> None:
        """Raise for options of a call that are of the wrong type or outside their choices."""
        if not isinstance(progress, bool) and not callable(progress):
            raise TypeError(f"progress is {type(progress).__name__}, neither a bool nor a function")
        check_choice("on_overflow", on_overflow, ("truncate", "error"))

    def _warn_truncated(self, count: int, what: str, *, stacklevel: int = 4) -> None:
        """One warning for ``count`` texts, if any; ``stacklevel`` fits a private method that a public one calls."""
        if count:
            texts = f"1 {what} was" if count == 1 else f"{count} {what}s were"
            warnings.warn(
                f"{texts} truncated to the model's {self.max_tokens} tokens; "
                "split long texts, or pass on_overflow='error' to find them",
                stacklevel=stacklevel,
            )


def _is_for_kernels(bundle: Bundle, variant: str) -> bool:
    """Whether kernels that can be used would run a variant."""
    return any("kernels" in graph.needs for graph in bundle.manifest.variants[variant].graphs)


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
