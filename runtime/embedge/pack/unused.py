"""What of the packages is never imported when embedge embeds; a test runs a function without it.

Found by tracing the imports of a run, with numpy 2.4, onnxruntime 1.32 and tokenizers 0.23. What is small stays.
"""

from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple


class Rule(NamedTuple):
    """Files that are left out: their path from the package's directory is like ``pattern``; ``*`` stands for any."""

    pattern: str
    why: str


RULES = (
    Rule("*.pyi", "types for type checkers"),
    Rule("*.pxd", "declarations for Cython"),
    Rule("*/tests/*", "the packages' own tests"),
    Rule("*.dist-info/sboms/*", "lists of what was compiled in"),
    Rule("*.dist-info/INSTALLER", "what pip notes about this machine"),
    Rule("*.dist-info/RECORD", "hashes of files, some of which are left out"),
    Rule("*.dist-info/REQUESTED", "what pip notes about this machine"),
    Rule("*.dist-info/direct_url.json", "what pip notes about this machine"),
    Rule("bin/*", "programs"),
    Rule("numpy/_core/include/*", "headers for C compilers"),
    Rule("numpy/_core/lib/*", "a library for C compilers"),
    Rule("numpy/_core/_simd.*", "run by NumPy's tests only"),
    Rule("numpy/_core/*_tests.*", "run by NumPy's tests only"),
    Rule("numpy/_pyinstaller/*", "for another packer"),
    Rule("numpy/distutils/*", "compiles extensions"),
    Rule("numpy/f2py/*", "compiles Fortran"),
    Rule("numpy/ctypeslib/*", "NumPy imports it when it is asked for"),
    Rule("numpy/fft/*", "NumPy imports it when it is asked for"),
    Rule("numpy/ma/*", "NumPy imports it when it is asked for"),
    Rule("numpy/polynomial/*", "NumPy imports it when it is asked for"),
    Rule("numpy/random/*", "NumPy imports it when it is asked for"),
    Rule("numpy/testing/*", "NumPy imports it when it is asked for"),
    Rule("onnxruntime/backend/*", "runs ONNX's own tests"),
    Rule("onnxruntime/capi/libonnxruntime.so*", "for C programs: the Python module has a copy of its own"),
    Rule("onnxruntime/datasets/*", "example models"),
    Rule("onnxruntime/quantization/*", "makes models"),
    Rule("onnxruntime/tools/*", "makes models"),
    Rule("onnxruntime/transformers/*", "makes models"),
    Rule("tokenizers/tools/*", "shows tokens in notebooks"),
)


def remove_unused(directory: Path) -> int:
    """Delete what the rules name in ``directory``; returns how many bytes that were."""
    removed = 0
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif is_unused(path.relative_to(directory).as_posix()):
            removed += path.stat().st_size
            path.unlink()
    return removed


def is_unused(name: str) -> bool:
    """Whether a rule names the file, by its path from the packages' directory."""
    return any(fnmatch(name, rule.pattern) for rule in RULES)
