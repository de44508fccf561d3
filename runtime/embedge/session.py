"""ONNX Runtime: its sessions, options and providers, and which variant of a bundle to run."""

import ctypes
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

# The wheels for Linux and macOS report to Microsoft from 1.29 on; they read this when they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from embedge.bundle import stamp
from embedge.errors import BundleCorrupt, BundleError, ProviderError
from embedge.fork import after_fork
from embedge.manifest import Variant
from embedge.vectors import FloatArray

# Where the program imported onnxruntime first, the variable came too late.
onnxruntime.disable_telemetry_events()

VARIANTS = ("int8", "int8-reduced", "fp32")
"""In the order that ``variant="auto"`` prefers them, the first only where its kernels are exact."""

_PROBE = Path(__file__).with_name("probe.onnx")

# Tokens up to which a single thread on weights that are not packed is sooner done than another session is made.
_SHORT = 64

# Only the first is tested; the others are passed on to ONNX Runtime as they are.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class Engine:
    """One variant of a bundle in ONNX Runtime, ready for calls from any number of threads.

    It holds two sessions over the same mapped weights, since a session's thread count is fixed when it is made: one
    whose operators are spread over all threads, for a single text, and one whose operators keep to their caller's
    thread, so that several texts run side by side. Each is made when it is first needed.

    Two thirds of the 31 ms that it takes to make one (bge-small, int8) go into packing the weights for the kernels. The
    very first text, if short, runs on a third session that does without, and without threads, whose start costs more
    than they gain: 21 to 24 ms to its vector. Sums of integers come out the same either way; float32 ones do not, so
    that variant is packed from the start.
    """

    def __init__(self, graph: Path, weights: Path, *, threads: int, providers: Sequence[str], integer: bool) -> None:
        """``integer`` says that the matrices are integers. A session is made at once, with the errors of `_create`."""
        # Sessions are made later too, from what may then be other files, or another working directory.
        self._graph = graph.absolute()
        self._stamps = {path.absolute(): stamp(path) for path in (graph, weights)}
        self._threads = threads
        self._providers = providers
        self._lock = threading.Lock()
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._first: list[onnxruntime.InferenceSession] = []
        if integer:
            self._first.append(self._create(1, packed=False))
        else:
            self._sessions[threads] = self._create(threads)
        after_fork(self, Engine._abandon_sessions)

    def run(self, ids: npt.NDArray[np.int64], *, spread: bool) -> FloatArray:
        """Vectors of texts of equal length. Shape: ``(batch, tokens)`` -> ``(batch, width)``.

        With ``spread`` over all threads, else on the calling thread alone; the bits are the same.
        """
        session = self._session(self._threads if spread else 1, ids.size)
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
                self._sessions[threads] = self._create(threads)
            return self._sessions[threads]

    def _create(self, threads: int, *, packed: bool = True) -> onnxruntime.InferenceSession:
        for path, loaded in self._stamps.items():
            try:
                replaced = stamp(path) != loaded
            except OSError:
                replaced = True
            if replaced:
                raise BundleCorrupt(f"{path} was replaced or removed after the bundle was loaded; load it again")
        return _create(self._graph, threads, self._providers, packed=packed)

    def _abandon_sessions(self) -> None:
        """In a forked child: leave the parent's sessions alone and let new ones be made.

        Their worker threads exist in the parent only. Running such a session would wait for them for ever, and so
        would its destructor, so the objects are kept from ever being destroyed (onnxruntime issue 9800).
        """
        for session in [*self._first, *self._sessions.values()]:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
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
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=list(providers))
    except Exception as exc:
        if providers == ["CPUExecutionProvider"]:
            raise BundleError(f"ONNX Runtime {onnxruntime.__version__} can't load {graph}: {exc}") from exc
        raise ProviderError(f"ONNX Runtime can't run {graph} on {', '.join(providers)}: {exc}") from exc
    got = session.get_providers()
    if got[: len(providers)] != list(providers):
        raise ProviderError(
            f"asked for {', '.join(providers)}, ONNX Runtime gave {', '.join(got)}; "
            "see `embedge doctor`, or leave providers out to run on the CPU"
        )
    return session


def resolve_providers(names: Sequence[str] | None) -> list[str]:
    """ONNX Runtime's names for ``names``, which are keys of :data:`PROVIDERS` or such names already; None is the CPU.

    Raises:
        ProviderError: a provider that is unknown, or that the installed onnxruntime does not have.
    """
    if isinstance(names, str):
        raise ProviderError(f"providers must be a list: providers=[{names!r}]")
    available = onnxruntime.get_available_providers()
    resolved = [PROVIDERS.get(name, name) for name in names or ["cpu"]]
    for name, asked in zip(resolved, names or ["cpu"], strict=True):
        if name not in available:
            raise ProviderError(
                f"provider {asked!r} is not in the installed onnxruntime {onnxruntime.__version__}, which has "
                f"{', '.join(available)}; install the onnxruntime package that has it, or leave providers out"
            )
    return resolved


def choose_variant(variants: Mapping[str, Variant], asked: str) -> str:
    """The name of the variant to run: ``asked``, or for ``"auto"`` the smallest that is right on this CPU.

    Raises:
        BundleError: the bundle has no such variant.
        ProviderError: it has, but this CPU's kernels get it wrong; the message names the one to use.
    """
    if asked != "auto" and asked not in variants:
        raise BundleError(f"the bundle has no variant {asked!r}; it has {', '.join(sorted(variants))}")
    if asked not in ("auto", "int8"):
        return asked
    known = dict.fromkeys([*VARIANTS, *variants])
    right = [name for name in known if name in variants and (name != "int8" or int8_is_exact())]
    if asked == "auto" and right:
        return right[0]
    if asked in right:
        return asked
    use = f"use variant {right[0]!r}" if right else "export the checkpoint again, with --precision int8 or fp32"
    raise ProviderError(f"the products of variant 'int8' overflow on this CPU, which has no VNNI or AMX; {use}")


def int8_is_exact() -> bool:
    """Whether this CPU's kernels multiply unsigned 8-bit by signed 8-bit numbers without overflow.

    Found by trying: the largest numbers through the operator that the graphs use, for one row, whose kernel may be
    another one, and for several. ``vpmaddubsw``, which CPUs without VNNI have for it, adds pairs of products in 16 bits
    and saturates there, silently (onnxruntime issue 6004).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(_PROBE), options, providers=["CPUExecutionProvider"])
    for rows in (1, 7):
        largest = np.full((rows, 64), 255, np.uint8)
        if not (session.run(None, {"x": largest})[0] == 64 * 255 * 127).all():
            return False
    return True
