"""ONNX Runtime: its sessions, with the options that they need."""

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

# The wheels for Linux and macOS report to Microsoft from 1.29 on; they read this when they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from embedge.bundle import stamp
from embedge.engine.fork import after_fork
from embedge.errors import BundleCorrupt, BundleError, ProviderError
from embedge.vectors import FloatArray

try:
    # Where the program imported onnxruntime first, the variable came too late.
    onnxruntime.disable_telemetry_events()
except AttributeError as exc:
    raise ProviderError(
        "onnxruntime is installed, but its files are gone, as when one of onnxruntime and onnxruntime-gpu is "
        "uninstalled and the other stays: uninstall both, then install one"
    ) from exc

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

FORKED = (
    "this process was forked from one that has used CUDA, where it can't be used: start processes with "
    "multiprocessing's 'spawn' method and load the bundle in each"
)

# Tokens up to which a single thread on weights that are not packed is sooner done than another session is made.
_SHORT = 64

# Older releases sum LayerNorms in float16 without the first, and 1.31 ignores it; TF32 would round fp32's factors to
# 10 bits.
_OPTIONS = {CUDA: {"enable_skip_layer_norm_strict_mode": "1", "use_tf32": "0"}}


class SessionMaker:
    """Makes sessions of one graph on ``providers``, as long as its files stay those that were loaded."""

    def __init__(self, graph: Path, weights: Path, providers: Sequence[str]) -> None:
        # Sessions are made later too, from what may then be other files, or another working directory.
        self._graph = graph.absolute()
        self._stamps = {path.absolute(): stamp(path) for path in (graph, weights)}
        self.providers = list(providers)
        self._forked = False
        after_fork(self, SessionMaker._note_fork)

    def make(self, threads: int, *, packed: bool = True) -> onnxruntime.InferenceSession:
        """A session whose operators run on ``threads`` threads, with weights packed for them or as they lie.

        Raises:
            BundleCorrupt: a file was replaced.
            BundleError: the graph can't be loaded.
            ProviderError: it can't be loaded on these providers.
        """
        for path, loaded in self._stamps.items():
            try:
                replaced = stamp(path) != loaded
            except OSError:
                replaced = True
            if replaced:
                raise BundleCorrupt(f"{path} was replaced or removed after the bundle was loaded; load it again")
        if self._forked and (CUDA in self.providers or TENSORRT in self.providers):
            raise ProviderError(FORKED)
        return _create(self._graph, threads, self.providers, packed=packed)

    def _note_fork(self) -> None:
        self._forked = True


def abandon(session: onnxruntime.InferenceSession) -> None:
    """In a forked child: leave a session of the parent alone.

    Its worker threads exist in the parent only. Running it would wait for them for ever, and so would its destructor,
    so it is kept from ever being destroyed (onnxruntime issue 9800).
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


class Engine:
    """One variant of a bundle in ONNX Runtime, ready for calls from any number of threads.

    It holds two sessions over the same mapped weights, since a session's thread count is fixed when it is made: one
    whose operators are spread over all threads, for a single text, and one whose operators keep to their caller's
    thread, so that several texts run side by side. Each is made when it is first needed.

    Two thirds of the 31 ms that it takes to make one (bge-small, int8) go into packing the weights for the kernels. The
    very first text, if short, runs on a third session that does without, and without threads, whose start costs more
    than they gain: 21 to 24 ms to its vector. Sums of integers come out the same either way; float32 ones do not, so
    that variant is packed from the start.

    All this is about the CPU. On other providers there is one session, made from the start.
    """

    def __init__(self, graph: Path, weights: Path, *, threads: int, providers: Sequence[str], integer: bool) -> None:
        """``integer`` says that the matrices are integers. A session is made at once; errors as in `SessionMaker`."""
        self._maker = SessionMaker(graph, weights, providers)
        self._threads = threads
        self._lock = threading.Lock()
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._first: list[onnxruntime.InferenceSession] = []
        self._on_cpu = self._maker.providers == [CPU]
        self.fallback: str | None = None
        """What runs on the CPU although other providers were asked for."""
        if integer and self._on_cpu:
            self._first.append(self._maker.make(1, packed=False))
        else:
            self._sessions[threads] = self._maker.make(threads)
        if not self._on_cpu:
            from embedge.engine.providers import find_fallback

            self.fallback = find_fallback(self._sessions[threads], self._maker.providers)
            self.run(np.zeros((1, 2), np.int64), spread=True)  # what it can't run shows now
        after_fork(self, Engine._abandon_sessions)

    def run(self, ids: npt.NDArray[np.int64], *, spread: bool) -> FloatArray:
        """Vectors of texts of equal length. Shape: ``(batch, tokens)`` -> ``(batch, width)``.

        With ``spread`` over all threads, else on the calling thread alone; the bits are the same.
        """
        session = self._session(self._threads if spread or not self._on_cpu else 1, ids.size)
        try:
            vectors: FloatArray = session.run(None, {"input_ids": ids})[0]
        except Exception as exc:
            raise ProviderError(f"ONNX Runtime failed on {ids.shape[0]} texts of {ids.shape[1]} tokens: {exc}") from exc
        return vectors

    def _session(self, threads: int, tokens: int) -> onnxruntime.InferenceSession:
        if threads in self._sessions:
            return self._sessions[threads]
        with self._lock:
            if self._first:
                first = self._first.pop()
                if tokens <= _SHORT:
                    return first
            if threads not in self._sessions:
                self._sessions[threads] = self._maker.make(threads)
            return self._sessions[threads]

    def _abandon_sessions(self) -> None:
        """In a forked child: let new sessions be made."""
        for session in [*self._first, *self._sessions.values()]:
            abandon(session)
        self._first, self._sessions = [], {}
        self._lock = threading.Lock()


def _create(graph: Path, threads: int, providers: Sequence[str], *, packed: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The graph is written for the kernels that are fast; the optimizer's fusions undo that (SkipLayerNormalization
    # takes five times as long as Add and LayerNormalization in 1.32), and cost time at every start.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    # Plans kept for each length of text, which save no time here and cost 2 ms at the start.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; they are raised as exceptions besides
    if providers != [CPU]:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    chosen = [(name, _OPTIONS.get(name, {})) for name in providers]
    try:
        # Without fallback: it would go on with the CPU, after a few lines on standard output.
        session = onnxruntime.InferenceSession(str(graph), options, providers=chosen, enable_fallback=0)
    except Exception as exc:
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
