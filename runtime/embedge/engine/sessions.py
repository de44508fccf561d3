"""ONNX Runtime's sessions: the options that they need, and what they were made of."""

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from embedge.bundle import Bundle
from embedge.engine import fork
from embedge.engine.choose import Choice
from embedge.engine.cpus import cpu_budget
from embedge.engine.files import LoadedFiles
from embedge.engine.mapped import let_go, mapped
from embedge.engine.native import kernels, register
from embedge.engine.ort import CPU, CUDA, TENSORRT, onnxruntime
from embedge.engine.shutdown import native
from embedge.engine.weights import Unsigned
from embedge.errors import BundleError, ProviderError
from embedge.stamps import Stamp

CLOSED = "this Embedder is closed; load it again"
"""What calls get after :meth:`embedge.Embedder.close`."""

# Tokens up to which a single thread on weights that are not packed is sooner done than another session is made.
_SHORT = 64

# Older releases sum LayerNorms in float16 without the first, and 1.31 ignores it; TF32 would round fp32's factors to
# 10 bits.
_OPTIONS = {CUDA: {"enable_skip_layer_norm_strict_mode": "1", "use_tf32": "0"}}


class SessionMaker:
    """Makes sessions of one graph of a bundle, as long as its files have the bytes that were loaded."""

    def __init__(
        self,
        bundle: Bundle,
        choice: Choice,
        providers: Sequence[str],
        sealed: Mapping[str, Stamp] | None = None,
        *,
        low_memory: bool = False,
    ) -> None:
        """``providers`` have ONNX Runtime's names; the rest is as for :func:`embedge.engine.load`.

        ``BundleError`` where the weights can't be read.
        """
        variant = bundle.manifest.variants[choice.variant]
        self._graph, self._weights = choice.graph.file, variant.weights
        self._files = LoadedFiles(bundle, (self._graph, self._weights), sealed)
        directory = self._files.check()
        graph, weights = directory / self._graph, directory / self._weights
        # ONNX Runtime follows no link that leads out of the graph's directory, nor out of where that is a link to.
        places = (graph.parent.resolve(), graph.resolve().parent)
        self._scattered = not any(weights.resolve().is_relative_to(place) for place in places)
        self._unsigned = Unsigned.load(weights, variant.codes) if choice.graph.unsigned else None
        self._needs_kernels = "kernels" in choice.graph.needs
        self.providers = list(providers)
        self.low_memory = low_memory
        # Busy waiting for the next text took 5 times the processor time of the texts themselves.
        self.spins = not cpu_budget().by_quota
        """Whether the threads that a text was spread over wait busily for the next one."""
        self._forked = False
        fork.watch(self)

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU is the only provider."""
        return self.providers == [CPU]

    def make(self, threads: int, *, packed: bool = True) -> onnxruntime.InferenceSession:
        """A session whose operators run on ``threads`` threads, with weights packed for them or as they lie.

        Raises:
            BundleCorrupt: a file was removed or has other bytes.
            BundleError: the graph can't be loaded.
            ProviderError: it can't be loaded on these providers, or there is too little memory or no further thread.
        """
        directory = self._files.check()
        if self._forked and (CUDA in self.providers or TENSORRT in self.providers):
            raise ProviderError(fork.NO_CUDA)
        options = _options(threads, packed=packed, spins=self.spins)
        if not self.on_cpu:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if self._unsigned:
            for name, value in self._unsigned.values.items():
                options.add_initializer(name, value)
        if self._scattered:  # so it gets the bytes, which it copies
            data = np.fromfile(directory / self._weights, np.uint8)
            options.add_external_initializers_from_files_in_memory([self._weights], [data], [data.size])
        library = kernels().library if self._needs_kernels else None
        create = partial(_create, directory / self._graph, options, self.providers, library)
        if self.low_memory and packed:
            create = partial(_create_without, directory / self._weights, create)
        session = native(create)
        session.weights = self._unsigned  # which it does not copy: they have to last as long as the session
        return session

    def fallback(self, session: onnxruntime.InferenceSession) -> str | None:
        """What of a session runs on the CPU although other providers were asked for; ``None`` where nothing does.

        Raises:
            ProviderError: nothing runs on what was asked for.
        """
        if self.on_cpu:
            return None
        from embedge.engine.providers import find_fallback  # not needed at a start on the CPU

        return find_fallback(session, self.providers)

    def close(self) -> None:
        """Let the weights and files go; no sessions can be made any more."""
        self._unsigned = None
        self._files.close()

    def after_fork(self) -> None:
        """See :mod:`.fork`."""
        self._forked = True


class SessionPool:
    """The sessions of a graph, each made when it is first needed.

    On the CPU there are two over the same mapped weights, since a session's thread count is fixed when it is made: one
    whose operators are spread over all threads, for a single text, and one whose operators keep to their caller's
    thread, so that several texts run side by side.

    Two thirds of the 31 ms that it takes to make one (bge-small, int8) go into packing the weights for the kernels. The
    very first text, if short, runs on a third session that does without, and without threads, whose start costs more
    than they gain: 21 to 24 ms to its vector. Sums of integers come out the same either way; float32 ones do not, so
    that variant is packed from the start. Where memory is short, integers are never packed: sessions run on the mapped
    file, of which the system can take pages back.

    On other providers there is one session, made from the start, and for graphs that are told whether to spread.
    """

    def __init__(self, maker: SessionMaker, *, threads: int, integer: bool) -> None:
        """``integer`` says that the matrices are integers. A session is made at once; errors as in `SessionMaker`."""
        self._maker = maker
        self._threads = threads
        self._packed = not (maker.low_memory and integer)
        self._lock = threading.Lock()
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._first: list[onnxruntime.InferenceSession] = []
        self.fallback: str | None = None
        """What runs on the CPU although other providers were asked for."""
        if integer and maker.on_cpu and self._packed:
            self._first.append(maker.make(1, packed=False))
        else:
            session = self._sessions[threads] = maker.make(threads, packed=self._packed)
            self.fallback = maker.fallback(session)
        fork.watch(self)

    def get(self, tokens: int, *, spread: bool) -> onnxruntime.InferenceSession:
        """One to run ``tokens`` tokens on, with ``spread`` over all threads, else on the calling thread alone."""
        threads = self._threads if spread or not self._maker.on_cpu else 1
        if threads in self._sessions:
            return self._sessions[threads]
        with self._lock:
            if self._first:
                first = self._first.pop()
                if tokens <= _SHORT:
                    return first
            if threads not in self._sessions:
                self._sessions[threads] = self._maker.make(threads, packed=self._packed)
            return self._sessions[threads]

    def close(self) -> None:
        """Let the sessions go, and what they are made of."""
        with fork.held_off:
            self._first, self._sessions = [], {}
        self._maker.close()
        _trim()

    def after_fork(self) -> None:
        """Let new sessions be made, see :mod:`.fork`."""
        for session in [*self._first, *self._sessions.values()]:
            abandon(session)
        self._first, self._sessions = [], {}
        self._lock = threading.Lock()


def abandon(session: onnxruntime.InferenceSession) -> None:
    """In a forked child: leave a session of the parent alone.

    Its worker threads exist in the parent only. Running it would wait for them for ever, and so would its destructor,
    so it is kept from ever being destroyed (onnxruntime issue 9800).
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _trim() -> None:
    """Give freed memory back to the system. glibc keeps it for later: 40 MB of the two sessions of bge-small."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def failures_told(texts: int, tokens: int) -> Iterator[None]:
    """``ProviderError`` for whatever ONNX Runtime raises while it runs ``texts`` texts of ``tokens`` tokens."""
    try:
        yield
    except Exception as exc:
        batch = "a text" if texts == 1 else f"{texts} texts"
        raise ProviderError(f"ONNX Runtime failed on {batch} of {tokens} tokens: {_shortage(exc) or exc}") from exc


def _shortage(error: Exception) -> str | None:
    """What the system has no more of, with what to do; ``None`` where ``error`` has another reason."""
    if "pthread_create failed" in str(error):
        return "no further thread can be started here (a limit of processes); load the bundle with threads=1"
    signs = ("bad_alloc", "allocate memory", "too little memory")
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in signs):
        return "there is too little memory (a limit of this process or its control group)"
    return None


def _options(threads: int, *, packed: bool, spins: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The graph is written for the kernels that are fast; the optimizer's fusions undo that (SkipLayerNormalization
    # takes five times as long as Add and LayerNormalization in 1.32), and cost time at every start.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Plans kept for each length of text, which save no time here and cost 2 ms at the start.
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # not its errors, which are raised as exceptions
    return options


def _create_without(weights: Path, create: Callable[[], onnxruntime.InferenceSession]) -> onnxruntime.InferenceSession:
    """A session that has packed its weights, without the pages of the file that it packed them from."""
    with fork.held_off:  # no other is made or closed meanwhile
        others = mapped(weights)
        session = create()
        let_go(weights, others)
    return session


def _create(
    graph: Path, options: onnxruntime.SessionOptions, providers: Sequence[str], library: str | None
) -> onnxruntime.InferenceSession:
    chosen = [(name, _OPTIONS.get(name, {})) for name in providers]
    try:
        if library:
            register(options, library)
        with fork.held_off:
            # Without fallback: it would go on with the CPU, after a few lines on standard output.
            session = onnxruntime.InferenceSession(str(graph), options, providers=chosen, enable_fallback=0)
    except Exception as exc:
        shortage = _shortage(exc)
        if shortage:
            raise ProviderError(f"{graph.name} can't be loaded: {shortage}") from exc
        if providers == [CPU]:
            raise BundleError(f"ONNX Runtime {onnxruntime.__version__} can't load {graph}: {exc}") from exc
        raise ProviderError(f"ONNX Runtime can't run {graph} on {', '.join(providers)}: {exc}") from exc
    got = session.get_providers()
    if got[: len(providers)] != list(providers):
        raise ProviderError(
            f"asked for {', '.join(providers)}, ONNX Runtime gave {', '.join(got)}; "
            "see `embedge doctor`, or leave providers out to run on the CPU"
        )
    return session
