"""Whether ONNX Runtime can use an NVIDIA GPU here, and if not, why not and what to do.

ONNX Runtime itself says so on standard error only, and then runs on the CPU. So each prerequisite is checked in the
order you would fix it: package, driver, device, libraries. A start on the CPU imports nothing of this.
"""

import contextlib
import ctypes
import importlib.metadata
import io
import os
from pathlib import Path
from typing import NamedTuple

from embedge.engine.fork import NO_CUDA
from embedge.engine.ort import CUDA, TENSORRT, onnxruntime
from embedge.errors import ProviderError

LIBRARIES = {CUDA: "cuda", TENSORRT: "tensorrt"}
"""The providers that need an NVIDIA GPU, and how the files with their code are called."""

_DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
# What cuInit says in a forked child of a process that has called it.
_NOT_INITIALIZED = 3
# Loaded late and optional for ONNX Runtime, which then takes slower kernels and says nothing.
_CUDNN = "cudnn64_9.dll" if os.name == "nt" else "libcudnn.so.9"
# All put their files into one directory, `onnxruntime`.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


class Driver(NamedTuple):
    """The CUDA version that the NVIDIA driver supports, such as ``(13, 0)``, and the names of the GPUs."""

    version: tuple[int, int]
    gpus: list[str]


def distributions() -> dict[str, str]:
    """Versions of the installed packages that bring ONNX Runtime; more than one overwrite each other's files."""
    found = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def why_not(provider: str) -> list[str]:
    """Why ``provider``, a key of :data:`LIBRARIES`, can't be used here and what to do; empty where it seems to work.

    Its package and the driver are both looked at, so that both can be fixed at once; libraries only with these.
    """
    reasons = []
    if provider not in onnxruntime.get_available_providers():
        reasons.append(_lacking(provider, distributions()))
    try:
        _check_version(query_driver())
    except ProviderError as exc:
        reasons.append(str(exc))
    if not reasons:
        reasons += _missing_library(provider)
    return reasons


def query_driver() -> Driver:
    """Ask the NVIDIA driver what it has; raises a ``ProviderError`` where there is no driver or no GPU."""
    try:
        library = _load_driver()
    except OSError as exc:
        raise ProviderError(
            f"there is no NVIDIA driver ({exc}): install it, or start the container with its GPU (--gpus all)"
        ) from exc
    count, version = ctypes.c_int(), ctypes.c_int()
    code = library.cuInit(0)
    if code == _NOT_INITIALIZED:
        raise ProviderError(NO_CUDA)
    code = code or library.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
        error = f" ({_error_name(library, code)})" if code else ""
        raise ProviderError(f"the NVIDIA driver finds no GPU{hint}{error}: see nvidia-smi")
    library.cuDriverGetVersion(ctypes.byref(version))
    gpus = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        library.cuDeviceGet(ctypes.byref(device), number)
        library.cuDeviceGetName(name, len(name), device)
        gpus.append(name.value.decode(errors="replace"))
    return Driver((version.value // 1000, version.value % 1000 // 10), gpus)


def _lacking(provider: str, installed: dict[str, str]) -> str:
    """Why the installed onnxruntime lacks ``provider``."""
    packages = " and ".join(f"{name} {version}" for name, version in installed.items()) or "onnxruntime"
    if len(installed) > 1:
        why = f"{packages} are installed and overwrite each other's files, and those that are left have no {provider}"
    elif "onnxruntime-gpu" in installed:
        why = f"{packages} is installed, but its files are damaged or another package's, and have no {provider}"
    else:
        why = f"{packages} has no {provider}"
    remove = " ".join(installed) or "onnxruntime"
    return f'{why}: pip uninstall -y {remove}, then pip install "onnxruntime-gpu[cuda,cudnn]"'


def _load_driver() -> ctypes.CDLL:
    return ctypes.CDLL(_DRIVER)


def _error_name(library: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    if library.cuGetErrorName(code, ctypes.byref(name)) or not name.value:
        return f"error {code}"
    return name.value.decode()


def _check_version(driver: Driver) -> None:
    built = onnxruntime.cuda_version
    if built and driver.version[0] < int(built.split(".")[0]):
        supported = ".".join(map(str, driver.version))
        raise ProviderError(
            f"the NVIDIA driver supports CUDA {supported}, but onnxruntime {onnxruntime.__version__} was built for "
            f"CUDA {built}: update the driver, or install an older onnxruntime-gpu"
        )


def _missing_library(provider: str) -> list[str]:
    """Load the provider's code and the libraries that it needs, as ONNX Runtime does later; return why not."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it doesn't find
        onnxruntime.preload_dlls()
    directory = Path(onnxruntime.__file__).parent / "capi"
    parts = ("shared", LIBRARIES[provider])
    shared, own = (sorted(directory.glob(f"*onnxruntime_providers_{part}.*")) for part in parts)
    try:
        for path in shared:  # first, where the others look for its symbols
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        for path in own:
            ctypes.CDLL(str(path))
        ctypes.CDLL(_CUDNN)
    except OSError as exc:
        besides = ", and TensorRT is to be installed besides" if provider == TENSORRT else ""
        return [
            f"a library can't be loaded ({exc}): "
            f'pip install "onnxruntime-gpu[cuda,cudnn]" brings those of CUDA and cuDNN{besides}'
        ]
    return []
